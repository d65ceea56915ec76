// An app on the published Flagsmith Go SDK: prints what it sees each time that this changes.
package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	flagsmith "github.com/Flagsmith/flagsmith-go-client/v4"
)

func main() {
	base, serverKey, feature := os.Args[1], os.Args[2], os.Args[3]
	ctx := context.Background()
	client := flagsmith.NewClient(
		serverKey,
		flagsmith.WithSlogLogger(slog.New(slog.NewTextHandler(io.Discard, nil))),
		flagsmith.WithBaseURL(base+"/api/v1/"),
		flagsmith.WithRealtimeBaseURL(base+"/"),
		flagsmith.WithLocalEvaluation(ctx),
		flagsmith.WithRealtime(),
	)
	var shown any
	for ; ; time.Sleep(20 * time.Millisecond) {
		flags, err := client.GetFlags(ctx, nil)
		if err != nil {
			continue // it has none yet
		}
		now, err := flags.GetFeatureValue(feature)
		if err == nil && now != shown {
			shown = now
			fmt.Printf("%.6f %v\n", float64(time.Now().UnixNano())/1e9, now)
		}
	}
}
