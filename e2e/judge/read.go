package judge

import (
	"context"
	"fmt"
	"slices"

	"github.com/instarhq/instar/core"
	"github.com/instarhq/instar/core/api/client"
)

// Read fetches the whole audit log, oldest record first.
func Read(ctx context.Context, api *client.Client) ([]core.Record, error) {
	var records []core.Record
	filter := client.Records{Limit: 1000}
	for {
		page, err := api.Records(ctx, filter)
		if err != nil {
			return nil, fmt.Errorf("read the audit log: %w", err)
		}
		records = append(records, page.Items...)
		if page.Next == "" || len(page.Items) == 0 {
			break
		}
		filter.Before = page.Items[len(page.Items)-1].Seq
	}
	slices.Reverse(records)
	for i := range records {
		if records[i].Seq != uint64(i+1) {
			return nil, fmt.Errorf("the audit log has record %d at place %d", records[i].Seq, i+1)
		}
	}
	return records, nil
}
