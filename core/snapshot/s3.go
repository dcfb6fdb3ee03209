package snapshot

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/url"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"gocloud.dev/blob"
	"gocloud.dev/blob/s3blob"
)

const (
	// patience is how long an S3 server may neither take nor send anything. A request that meets such a
	// silence is tried again as often as the SDK does, so an operation may take some times as long.
	patience = time.Minute
	// stride is how much is handed to a connection at once: each has the whole patience to be taken.
	stride = 64 << 10
)

// openS3 opens a bucket of S3, or of a server that speaks it. No request is made yet.
func openS3(ctx context.Context, address *url.URL, patience time.Duration) (*blob.Bucket, error) {
	query := address.Query()
	prefix := query.Get("prefix")
	query.Del("prefix")
	plain := *address
	plain.RawQuery = query.Encode()

	environment, err := config.NewEnvConfig()
	if err != nil {
		return nil, err
	}
	var opener s3blob.URLOpener
	bucket, err := opener.OpenBucketURL(ctx, &plain) // for what it reads from the address and the environment
	if err != nil {
		return nil, err
	}
	var client *s3.Client
	if !bucket.As(&client) {
		return nil, errors.New("the S3 client cannot be had")
	}
	options := client.Options()
	if err := impatient(&options, patience); err != nil {
		return nil, err
	}
	options.RetryMaxAttempts = environment.RetryMaxAttempts // the opener has a retryer of its own, which does not look
	if query.Get("endpoint") != "" || options.BaseEndpoint != nil {
		chosen := query.Has("request_checksum_calculation") || environment.RequestChecksumCalculation != aws.RequestChecksumCalculationUnset
		compatible(&options, &opener.Options, chosen)
	}
	if bucket, err = s3blob.OpenBucket(ctx, s3.New(options), plain.Host, &opener.Options); err != nil {
		return nil, err
	}
	if prefix != "" {
		bucket = blob.PrefixedBucket(bucket, prefix)
	}
	return bucket, nil
}

// compatible leaves out what only Amazon's own servers are sure to understand: checksums after the body,
// which many others refuse, and a signature over Accept-Encoding, which Google's front ends and other
// proxies rewrite. Who wants the checksums says so in the address or the environment.
func compatible(options *s3.Options, bucket *s3blob.Options, checksumsChosen bool) {
	if !checksumsChosen {
		options.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
		bucket.RequestChecksumCalculation = aws.RequestChecksumCalculationWhenRequired
	}
	options.DisableLogOutputChecksumValidationSkipped = true
	options.HTTPSignerV4 = signer{options.HTTPSignerV4}
	options.AuthSchemes = nil // they have the signer in them, and are made anew
}

// signer signs everything but Accept-Encoding.
type signer struct{ s3.HTTPSignerV4 }

func (s signer) SignHTTP(ctx context.Context, credentials aws.Credentials, r *http.Request, payloadHash, service, region string,
	at time.Time, options ...func(*v4.SignerOptions),
) error {
	const name = "Accept-Encoding"
	accepted := r.Header.Get(name)
	r.Header.Del(name)
	err := s.HTTPSignerV4.SignHTTP(ctx, credentials, r, payloadHash, service, region, at, options...)
	if accepted != "" {
		r.Header.Set(name, accepted)
	}
	return err
}

// impatient makes a client give up on connections that are silent. The SDK would wait for ever.
func impatient(options *s3.Options, patience time.Duration) error {
	client, ok := options.HTTPClient.(*awshttp.BuildableClient) // with the authorities of AWS_CA_BUNDLE, if there are
	if !ok {
		return errors.New("the HTTP client of S3 is not the SDK's own")
	}
	options.HTTPClient = client.WithTransportOptions(func(transport *http.Transport) {
		dial := transport.DialContext
		transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			ctx, cancel := context.WithTimeout(ctx, patience)
			defer cancel()
			conn, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return &impatientConn{conn, patience}, nil
		}
	})
	return nil
}

// impatientConn fails when nothing moves. Who sends is not asked to answer at the same time, so each
// write gives the reader more time, too.
type impatientConn struct {
	net.Conn
	patience time.Duration
}

func (c *impatientConn) Read(p []byte) (int, error) {
	if err := c.SetReadDeadline(time.Now().Add(c.patience)); err != nil {
		return 0, err
	}
	return c.Conn.Read(p)
}

func (c *impatientConn) Write(p []byte) (n int, err error) {
	for {
		if err := c.SetDeadline(time.Now().Add(c.patience)); err != nil {
			return n, err
		}
		wrote, err := c.Conn.Write(p[n:min(len(p), n+stride)])
		if n += wrote; err != nil || n == len(p) {
			return n, err
		}
	}
}
