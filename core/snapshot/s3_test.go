package snapshot_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
)

const (
	key, secret = "instar-test", "a secret of forty characters, or nearly"
	bucketName  = "backups"
)

// s3Server is an S3 server with one bucket that lets in who has signed with the right secret.
type s3Server struct {
	url     string
	handler http.Handler
	objects gofakes3.Backend

	mu       sync.Mutex
	meddle   func(http.ResponseWriter, *http.Request) (done bool)
	requests []string
}

func newS3(t *testing.T) *s3Server {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret, "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": "/dev/null", "AWS_SHARED_CREDENTIALS_FILE": "/dev/null", "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_S3": "", "AWS_REQUEST_CHECKSUM_CALCULATION": "", "AWS_REGION": "",
		"AWS_DEFAULT_REGION": "", "AWS_CA_BUNDLE": "",
		"AWS_MAX_ATTEMPTS": "1", // the pauses between them are the SDK's
	} {
		t.Setenv(name, value)
	}
	s := &s3Server{objects: s3mem.New()}
	if err := s.objects.CreateBucket(bucketName); err != nil {
		t.Fatal(err)
	}
	stored := gofakes3.New(s.objects, gofakes3.WithLogger(gofakes3.DiscardLog())).Server()
	s.handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		meddle := s.meddle
		s.requests = append(s.requests, fmt.Sprintf("%s %s\n%s", r.Method, r.URL.RequestURI(), r.Header.Get("Authorization")))
		s.mu.Unlock()
		if meddle != nil && meddle(w, r) {
			return
		}
		if code := unsigned(r); code != "" {
			refuse(w, code)
			return
		}
		stored.ServeHTTP(w, r)
	})
	server := httptest.NewServer(s.handler)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

// meddleWith puts a handler in front of the server; it says whether it has answered.
func (s *s3Server) meddleWith(meddle func(http.ResponseWriter, *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.meddle = meddle
}

func (s *s3Server) seen() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.requests...)
}

func (s *s3Server) address(bucket string) string {
	return fmt.Sprintf("s3://%s?region=eu-central-1&endpoint=%s&use_path_style=true&prefix=prod/", bucket, s.url)
}

// inBucket are the names of all objects, whatever a snapshot is called.
func (s *s3Server) inBucket(t *testing.T) []string {
	t.Helper()
	list, err := s.objects.ListBucket(bucketName, nil, gofakes3.ListBucketPage{})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, object := range list.Contents {
		names = append(names, object.Key)
	}
	return names
}

func (s *s3Server) put(t *testing.T, name string) {
	t.Helper()
	if _, err := s.objects.PutObject(bucketName, name, nil, strings.NewReader("x"), 1, nil); err != nil {
		t.Fatal(err)
	}
}

func refuse(w http.ResponseWriter, code string) {
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(http.StatusForbidden)
	_, _ = fmt.Fprintf(w, "<Error><Code>%s</Code><Message>No.</Message><RequestId>%d</RequestId></Error>", code, time.Now().UnixNano())
}

// unsigned says what is wrong with the signature of a request: it is made again with the secret.
func unsigned(r *http.Request) (code string) {
	given := r.Header.Get("Authorization")
	if !strings.HasPrefix(given, "AWS4-HMAC-SHA256 Credential="+key+"/") {
		return "InvalidAccessKeyId"
	}
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil {
		return "RequestTimeTooSkewed"
	}
	_, names, _ := strings.Cut(given, "SignedHeaders=")
	names, _, _ = strings.Cut(names, ",")
	again, err := http.NewRequestWithContext(r.Context(), r.Method, "http://"+r.Host+r.URL.RequestURI(), nil)
	if err != nil {
		return "InvalidURI"
	}
	for name := range strings.SplitSeq(names, ";") {
		if name == "content-length" {
			again.ContentLength = r.ContentLength
		} else if name != "host" {
			again.Header[http.CanonicalHeaderKey(name)] = r.Header.Values(name)
		}
	}
	err = v4.NewSigner().SignHTTP(context.Background(), aws.Credentials{AccessKeyID: key, SecretAccessKey: secret}, again,
		r.Header.Get("X-Amz-Content-Sha256"), "s3", "eu-central-1", at, func(o *v4.SignerOptions) { o.DisableURIPathEscaping = true })
	if err != nil || again.Header.Get("Authorization") != given {
		return "SignatureDoesNotMatch"
	}
	return ""
}
