package metric

// What the Go runtime and the kernel tell of the process.

import (
	"bytes"
	"os"
	"runtime"
	"runtime/metrics"
	"strconv"
	"strings"
	"time"
)

// runtimeFamilies are Go's own figures, under the names the Prometheus client
// for Go gives them, so that its dashboards fit.
var runtimeFamilies = []struct {
	source string // a name of runtime/metrics
	family
}{
	{"/sched/goroutines:goroutines", family{"go_goroutines", "gauge", "Goroutines that exist."}},
	{"/sched/gomaxprocs:threads", family{"go_sched_gomaxprocs_threads", "gauge", "Most threads that run Go code at once."}},
	{"/memory/classes/heap/objects:bytes", family{"go_memstats_heap_alloc_bytes", "gauge", "Heap taken by objects, dead ones not yet swept included."}},
	{"/memory/classes/total:bytes", family{"go_memstats_sys_bytes", "gauge", "Memory the Go runtime has mapped."}},
	{"/gc/heap/goal:bytes", family{"go_memstats_next_gc_bytes", "gauge", "Heap size at which the next collection ends."}},
	{"/gc/gogc:percent", family{"go_gc_gogc_percent", "gauge", "GOGC."}},
	{"/gc/gomemlimit:bytes", family{"go_gc_gomemlimit_bytes", "gauge", "GOMEMLIMIT."}},
	{"/gc/heap/allocs:bytes", family{"go_gc_heap_allocs_bytes_total", "counter", "Bytes ever allocated on the heap."}},
	{"/gc/heap/allocs:objects", family{"go_gc_heap_allocs_objects_total", "counter", "Objects ever allocated on the heap."}},
	{"/gc/cycles/total:gc-cycles", family{"go_gc_cycles_total_gc_cycles_total", "counter", "Collections finished."}},
	{"/cpu/classes/gc/total:cpu-seconds", family{"go_cpu_classes_gc_total_cpu_seconds_total", "counter", "CPU time spent collecting, estimated."}},
	{"/sync/mutex/wait/total:seconds", family{"go_sync_mutex_wait_total_seconds_total", "counter", "Time goroutines waited for mutexes."}},
}

// The process's families, named by Prometheus' conventions.
var (
	goInfo         = family{"go_info", "gauge", "Always 1; the label says which Go built the program."}
	processStart   = family{"process_start_time_seconds", "gauge", "When the process began, in Unix time."}
	processCPU     = family{"process_cpu_seconds_total", "counter", "CPU time used, user and system."}
	processRSS     = family{"process_resident_memory_bytes", "gauge", "Memory resident in RAM."}
	processVirtual = family{"process_virtual_memory_bytes", "gauge", "Address space mapped."}
	processFDs     = family{"process_open_fds", "gauge", "Open file descriptors."}
	processMaxFDs  = family{"process_max_fds", "gauge", "Most file descriptors allowed."}
)

// writeRuntime writes what the Go runtime tells of itself.
func writeRuntime(t *text) {
	t.family(goInfo)
	t.sample(goInfo.name, 1, "version", runtime.Version())
	samples := make([]metrics.Sample, len(runtimeFamilies))
	for i, f := range runtimeFamilies {
		samples[i].Name = f.source
	}
	metrics.Read(samples)
	for i, f := range runtimeFamilies {
		switch v := samples[i].Value; v.Kind() {
		case metrics.KindUint64:
			t.family(f.family)
			t.sample(f.name, v.Uint64())
		case metrics.KindFloat64:
			t.family(f.family)
			t.sampleFloat(f.name, v.Float64())
		}
	}
}

// writeProcess writes what the kernel tells of the process, as far as there is
// a /proc; started is when it began.
func writeProcess(t *text, started time.Time) {
	t.family(processStart)
	t.sampleFloat(processStart.name, float64(started.UnixMilli())/1000)
	write := func(f family, value float64, ok bool) {
		if ok {
			t.family(f)
			t.sampleFloat(f.name, value)
		}
	}
	stat, _ := os.ReadFile("/proc/self/stat")
	seconds, ok := cpuSeconds(stat)
	write(processCPU, seconds, ok)

	statm, _ := os.ReadFile("/proc/self/statm")
	pages := strings.Fields(string(statm)) // proc(5): size, resident, …
	if len(pages) > 1 {
		virtual, err := strconv.ParseFloat(pages[0], 64)
		write(processVirtual, virtual*float64(os.Getpagesize()), err == nil)
		resident, err := strconv.ParseFloat(pages[1], 64)
		write(processRSS, resident*float64(os.Getpagesize()), err == nil)
	}

	if dir, err := os.Open("/proc/self/fd"); err == nil {
		names, err := dir.Readdirnames(-1)
		_ = dir.Close()
		write(processFDs, float64(len(names)-1), err == nil) // less the one that lists
	}
	limits, _ := os.ReadFile("/proc/self/limits")
	most, ok := maxFDs(limits)
	write(processMaxFDs, most, ok)
}

// cpuSeconds reads utime and stime, the 14th and 15th field of
// /proc/self/stat. The second field, the program's name, may hold anything, so
// counting starts behind its last parenthesis. The unit is 1/100 s on every
// architecture Go runs on.
func cpuSeconds(stat []byte) (seconds float64, ok bool) {
	fields := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
	const first = 3 // the number of fields[0]
	if len(fields) <= 15-first {
		return 0, false
	}
	user, err1 := strconv.ParseFloat(fields[14-first], 64)
	system, err2 := strconv.ParseFloat(fields[15-first], 64)
	return (user + system) / 100, err1 == nil && err2 == nil
}

// maxFDs reads the soft limit from /proc/self/limits.
func maxFDs(limits []byte) (most float64, ok bool) {
	for line := range strings.Lines(string(limits)) {
		if rest, found := strings.CutPrefix(line, "Max open files"); found {
			if fields := strings.Fields(rest); len(fields) > 0 {
				most, err := strconv.ParseFloat(fields[0], 64) // "unlimited" is none
				return most, err == nil
			}
		}
	}
	return 0, false
}
