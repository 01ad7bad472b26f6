package main

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// tick is the unit of CPU time in /proc: USER_HZ, 100 on every architecture that
// Go knows.
const tick = 10 * time.Millisecond

// usage is what a process and its children that live have used, and hold.
func usage(pid int) (cpu time.Duration, rss int64, err error) {
	for _, p := range append(children(pid), pid) {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p))
		if err != nil {
			return 0, 0, fmt.Errorf("cannot read the CPU time: %w", err)
		}
		// What stands behind the name, which may hold anything, begins with field 3.
		fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		if len(fields) < 22 {
			return 0, 0, fmt.Errorf("cannot read the CPU time of process %d: %q", p, stat)
		}
		user, _ := strconv.ParseInt(fields[11], 10, 64)
		system, _ := strconv.ParseInt(fields[12], 10, 64)
		pages, _ := strconv.ParseInt(fields[21], 10, 64)
		cpu += time.Duration(user+system) * tick
		rss += pages * int64(os.Getpagesize())
	}
	return cpu, rss, nil
}

func children(pid int) (list []int) {
	text, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	for field := range strings.FieldsSeq(string(text)) {
		if child, err := strconv.Atoi(field); err == nil {
			list = append(append(list, child), children(child)...)
		}
	}
	return list
}
