// SPDX-License-Identifier: Apache-2.0

// Command target is what the pods of a test cluster run: its only metric shows how often it has been scraped, so that
// a scrape which got lost is a number that is missing.
package main

import (
	"fmt"
	"log"
	"net/http"
	"os"
	"sync/atomic"
	"time"
)

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: target :PORT")
	}
	var scrapes atomic.Int64
	mux := http.NewServeMux()
	mux.HandleFunc("/metrics", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; version=0.0.4")
		_, _ = fmt.Fprintf(w, "# TYPE target_scrapes counter\ntarget_scrapes %d\n", scrapes.Add(1))
	})
	server := &http.Server{Addr: os.Args[1], Handler: mux, ReadHeaderTimeout: 10 * time.Second}
	log.Fatal(server.ListenAndServe())
}
