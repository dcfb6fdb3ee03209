package main

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// maxOrder is how many bytes an order may have.
const maxOrder = 1 << 20

// Order is what a customer sends.
type Order struct {
	Customer string `json:"customer"`
	Lines    []Line `json:"lines"`
	Note     string `json:"note,omitempty"`
}

// Line is one product of an order.
type Line struct {
	Product  string `json:"product"`
	Quantity int    `json:"quantity"`
}

// Placed is the answer to an order. Bytes and SHA256 are of the body as it arrived, so that the customer
// can see that it arrived whole.
type Placed struct {
	Identity
	Total  int    `json:"total_cents"`
	Bytes  int    `json:"bytes"`
	SHA256 string `json:"sha256"`
}

// order takes an order.
func (s *Shop) order(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxOrder))
	if err != nil {
		http.Error(w, "order not received whole: "+err.Error(), http.StatusBadRequest)
		return
	}
	var order Order
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&order); err != nil {
		http.Error(w, "order not understood: "+err.Error(), http.StatusBadRequest)
		return
	}
	total, err := order.total()
	if err != nil {
		http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		return
	}
	sum := sha256.Sum256(body)
	s.json(w, http.StatusCreated, Placed{
		Identity: s.identity, Total: total, Bytes: len(body), SHA256: hex.EncodeToString(sum[:]),
	})
}

func (o Order) total() (int, error) {
	if len(o.Lines) == 0 {
		return 0, fmt.Errorf("the order has no lines")
	}
	total := 0
	for _, line := range o.Lines {
		p, ok := productByID(line.Product)
		if !ok {
			return 0, fmt.Errorf("no product %q", line.Product)
		}
		if line.Quantity < 1 || line.Quantity > 1000 {
			return 0, fmt.Errorf("%s: a quantity is 1 to 1000, not %d", line.Product, line.Quantity)
		}
		total += p.Cents * line.Quantity
	}
	return total, nil
}
