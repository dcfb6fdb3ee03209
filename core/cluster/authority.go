package cluster

import (
	"context"
	"time"
)

// SignClient issues the certificate of an API client, for the Token object that says what its holder may do.
func (c *Cluster) SignClient(_ context.Context, csr []byte, token string, lifetime time.Duration) (pem string, expires time.Time, err error) {
	authority, err := c.signer()
	if err != nil {
		return "", time.Time{}, err
	}
	issued, err := authority.SignClient(csr, token, c.now(), lifetime)
	return issued.PEM, issued.NotAfter, err
}
