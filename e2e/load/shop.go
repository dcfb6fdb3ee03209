package load

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// ShopRevisionHeader is the header in which examples/shop says which revision answers.
const ShopRevisionHeader = "Shop-Revision"

// ShopStreams is a mix of customers for examples/shop of about 200 × scale requests a second: browsing
// over kept-alive connections, new connections, HTTP/2, orders whose bodies are streamed, and WebSockets.
func ShopStreams(scale float64) []Stream {
	users := func(n float64) int { return max(1, int(n*scale)) }
	return []Stream{
		{Kind: KeepAlive, Rate: 60 * scale, Users: users(12), Path: "/", Check: shopPage},
		{Kind: Fresh, Rate: 40 * scale, Path: "/api/products", Check: shopCatalog},
		{Kind: HTTP2, Rate: 40 * scale, Users: 2, Path: "/api/products", Check: shopCatalog},
		{Kind: Post, Rate: 30 * scale, Path: "/orders", Body: shopOrder, Check: shopPlaced},
		{Kind: Post, Rate: 5 * scale, Path: "/orders", Body: shopOrder, Check: shopPlaced, Pace: 90 * time.Millisecond},
		{Kind: WebSocket, Rate: 25 * scale, Users: users(8), Path: "/ws", Session: 3 * time.Second, Check: shopGreeting},
	}
}

// ShopIdlePosts are orders on kept-alive connections that were idle for a second before: what a balancer that
// closes idle connections without care loses.
func ShopIdlePosts(scale float64) Stream {
	users := max(1, int(20*scale))
	return Stream{Kind: KeepAlive, Rate: float64(users), Users: users, Path: "/orders", Body: shopOrder, Check: shopPlaced}
}

func shopPage(e Exchange) error {
	if !bytes.Contains(e.Body, []byte("Enamel mug")) || !bytes.Contains(e.Body, []byte("</html>")) {
		return fmt.Errorf("the page lacks its first product or its end: %.80q", e.Body)
	}
	return nil
}

func shopCatalog(e Exchange) error {
	var products []struct{ ID string }
	if err := json.Unmarshal(e.Body, &products); err != nil || len(products) == 0 {
		return fmt.Errorf("no catalogue: %.80q: %w", e.Body, err)
	}
	return nil
}

// shopOrder makes orders of different sizes, from 100 bytes to about 48 KiB.
func shopOrder(n int) []byte {
	note := strings.Repeat(fmt.Sprintf("order %d ", n), n%7*(n%7)*128)
	return fmt.Appendf(nil, `{"customer":"c%d","lines":[{"product":"mug","quantity":%d}],"note":%q}`, n, n%9+1, note)
}

func shopPlaced(e Exchange) error {
	var placed struct {
		Bytes  int
		SHA256 string
	}
	if err := json.Unmarshal(e.Body, &placed); err != nil {
		return fmt.Errorf("no receipt for the order: %.80q: %w", e.Body, err)
	}
	sum := sha256.Sum256(e.Sent)
	if placed.Bytes != len(e.Sent) || placed.SHA256 != hex.EncodeToString(sum[:]) {
		return fmt.Errorf("%d of the order's %d bytes arrived, or others", placed.Bytes, len(e.Sent))
	}
	return nil
}

func shopGreeting(e Exchange) error {
	var identity struct{ Revision string }
	if err := json.Unmarshal(e.Body, &identity); err != nil {
		return fmt.Errorf("no greeting: %.80q: %w", e.Body, err)
	}
	if header := e.Header.Get(ShopRevisionHeader); header != identity.Revision {
		return fmt.Errorf("the handshake is revision %s's, the greeting revision %s's", header, identity.Revision)
	}
	return nil
}
