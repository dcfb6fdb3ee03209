package serve

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/wire"
)

// explain tells a person who started a driver by hand what it is and how it is used.
func explain(w io.Writer, driver sdk.Driver) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	self := filepath.Base(os.Args[0])
	d, err := driver.Describe(ctx)
	if err != nil {
		fmt.Fprintf(w, "%s is a driver for instar, but cannot describe itself: %v\n", self, err)
		return
	}
	fmt.Fprintf(w, "%s is the %s driver %q %s for instar (driver protocol %d).\n",
		self, wire.KindOf(driver), d.Name, d.Version, sdk.ProtocolVersion)
	if d.Doc != "" {
		fmt.Fprintf(w, "\n%s\n", d.Doc)
	}
	fmt.Fprintf(w, `
It is not run by hand: put it as instar-%[1]s-%[2]s into a plugin directory of instard, which starts it.

  instar driver docs %[2]s          how it is configured
  instar driver verify PATH/TO/%[3]s   whether it keeps the driver contract
`, wire.KindOf(driver), d.Name, self)
}
