package metrics

import (
	"bytes"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/expfmt"

	"github.com/volbridge/volbridge/internal/metrics/spool"
)

// Host is what is so at this moment.
type Host struct {
	Version string
	// Attachments by pool and phase, Grants by pool.
	Attachments map[[2]string]int
	Grants      map[string]int
	// PendingAge is that of the oldest pending arrival.
	PendingAge time.Duration
	// Findings of recovery by kind and outcome; FindingsKnown: it was asked, and
	// could look everywhere.
	Findings      map[[2]string]int
	FindingsKnown bool
	// Unfinished migrations and copies.
	Unfinished int
	Now        time.Time
}

// described is one metric.
func described(name, help string, labels ...string) *prometheus.Desc {
	return prometheus.NewDesc("volbridge_"+name, help, labels, nil)
}

var (
	buildDesc       = described("build_info", "Version of the volbridge that wrote this; always 1.", "version")
	timeDesc        = described("collected_timestamp_seconds", "When this was written.")
	attachmentsDesc = described("attachments", "Volumes that are recorded on this host for a domain, by pool and phase.", "pool", "phase")
	grantsDesc      = described("grants", "Volumes of a pool that this host may reach, by its records.", "pool")
	pendingDesc     = described("pending_arrivals", "Volumes that were made ready for domains that have not arrived yet.")
	pendingAgeDesc  = described("pending_arrival_oldest_seconds", "Age of the oldest of them; 0 if there is none.")
	findingsDesc    = described("findings", "What 'volbridge recover --dry-run' finds, by kind and outcome; outcome kept is as it should be.", "kind", "outcome")
	knownDesc       = described("findings_known", "1 if recovery could look everywhere, otherwise 0.")
	unfinishedDesc  = described("unfinished", "Migrations and copies of images that are under way, or died.")
	droppedDesc     = described("samples_dropped_total", "Measurements that had no room before they were added up.")
	unreadableDesc  = described("samples_unreadable_total", "Measurements that could not be read.")
	seriesDescs     = map[spool.Kind]*prometheus.Desc{
		spool.Call:      described("pool_call_duration_seconds", "Calls of a pool's management, by their result.", "pool", "result"),
		spool.Device:    described("device_attach_duration_seconds", "From the grant of a volume until its device is there and verified.", "protocol", "result"),
		spool.Migration: described("migration_duration_seconds", "Runs of 'volbridge migrate', by their result.", "result"),
	}
)

// collector tells both once.
type collector struct {
	host   Host
	totals Totals
}

// Describe implements prometheus.Collector.
func (c collector) Describe(to chan<- *prometheus.Desc) { prometheus.DescribeByCollect(c, to) }

// Collect implements prometheus.Collector.
func (c collector) Collect(to chan<- prometheus.Metric) {
	h := c.host
	gauge := func(d *prometheus.Desc, v float64, labels ...string) {
		to <- prometheus.MustNewConstMetric(d, prometheus.GaugeValue, v, labels...)
	}
	gauge(buildDesc, 1, h.Version)
	gauge(timeDesc, float64(h.Now.Unix()))
	pending := 0
	for key, n := range h.Attachments {
		gauge(attachmentsDesc, float64(n), key[0], key[1])
		if key[1] == "pending" {
			pending += n
		}
	}
	for pool, n := range h.Grants {
		gauge(grantsDesc, float64(n), pool)
	}
	gauge(pendingDesc, float64(pending))
	gauge(pendingAgeDesc, h.PendingAge.Seconds())
	for key, n := range h.Findings {
		gauge(findingsDesc, float64(n), key[0], key[1])
	}
	known := 0.0
	if h.FindingsKnown {
		known = 1
	}
	gauge(knownDesc, known)
	gauge(unfinishedDesc, float64(h.Unfinished))
	to <- prometheus.MustNewConstMetric(droppedDesc, prometheus.CounterValue, float64(c.totals.Dropped))
	to <- prometheus.MustNewConstMetric(unreadableDesc, prometheus.CounterValue, float64(c.totals.Unreadable))
	for _, s := range c.totals.Series {
		to <- s.metric()
	}
}

// metric is a histogram, whose buckets count all samples up to a bound.
func (s Series) metric() prometheus.Metric {
	buckets, sum := map[float64]uint64{}, uint64(0)
	for i, bound := range Bounds[s.Kind] {
		sum += s.Buckets[i]
		buckets[bound] = sum
	}
	labels := []string{s.Of, s.Result}
	if s.Kind == spool.Migration {
		labels = labels[1:]
	}
	return prometheus.MustNewConstHistogram(seriesDescs[s.Kind], s.Count, s.Sum().Seconds(), buckets, labels...)
}

func registry(h Host, t Totals) (*prometheus.Registry, error) {
	r := prometheus.NewPedanticRegistry()
	return r, r.Register(collector{h, t})
}

// Text is everything in the text format of Prometheus.
func Text(h Host, t Totals) ([]byte, error) {
	r, err := registry(h, t)
	if err != nil {
		return nil, err
	}
	families, err := r.Gather()
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	for _, f := range families {
		if _, err := expfmt.MetricFamilyToText(&b, f); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

// TextfileName is what the file is called in node_exporter's folder.
const TextfileName = "volbridge.prom"

// WriteTextfile writes Text for node_exporter's textfile collector, atomically,
// readable by all.
func WriteTextfile(path string, h Host, t Totals) error {
	if !strings.HasSuffix(path, ".prom") {
		return fmt.Errorf("write metrics to %s: node_exporter reads only files whose name ends with .prom", path)
	}
	r, err := registry(h, t)
	if err != nil {
		return err
	}
	if err := prometheus.WriteToTextfile(path, r); err != nil {
		return fmt.Errorf("write metrics into %s: %w", filepath.Dir(path), err)
	}
	return nil
}
