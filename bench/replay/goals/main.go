// Command goals measures what the balancing is to reach, G1 to G9, G11 and G12, in
// simulated time, and fails if one of those that are gated is missed. G10, the cost
// of a pick, is measured by the benchmarks of package balancer.
//
// With -traces it measures those on published traces too, with -ablations each term
// of the cost without which adaptive would be simpler. With -plots it draws what
// docs/explanation/routing.md shows.
package main

import (
	"flag"
	"fmt"
	"os"
	"time"
)

func main() {
	traces := flag.String("traces", "", "folder of published traces: *.jsonl of Mooncake's format, *.csv of Azure's or BurstGPT's")
	ablate := flag.Bool("ablations", false, "measure adaptive without each of its terms instead")
	plots := flag.String("plots", "", "draw the documentation's plots into this folder instead")
	flag.Parse()
	began := time.Now()
	ok, err := true, error(nil)
	if *plots != "" {
		err = draw(*plots)
	} else {
		ok, err = measure(*traces, *ablate)
	}
	fmt.Printf("\n%.0f s\n", time.Since(began).Seconds())
	if err != nil {
		fmt.Fprintf(os.Stderr, "goals: %v\n", err)
		os.Exit(1)
	}
	if !ok {
		os.Exit(1)
	}
}

func measure(folder string, ablate bool) (ok bool, err error) {
	workloads, err := made()
	if err != nil {
		return false, err
	}
	if folder != "" {
		published, err := read(folder)
		if err != nil {
			return false, err
		}
		workloads = append(workloads, published...)
	}
	if ablate {
		return true, ablations(workloads)
	}
	s := &sheet{}
	for _, w := range workloads {
		w.measure(s)
	}
	if err := others(s); err != nil {
		return false, err
	}
	return s.ok(), nil
}
