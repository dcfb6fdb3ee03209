// Package report is how the benchmark programs tell what they measured: a table for people and
// build/bench-NAME.json for programs.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Row is one measured value, as it stands in the JSON file. Subject is "instar" or the peer's name,
// Value the median of the rounds.
type Row struct {
	Case    string  `json:"case"`
	Subject string  `json:"subject"`
	Metric  string  `json:"metric"`
	Value   float64 `json:"value"`
	Unit    string  `json:"unit"`
}

// Write prints rows as a table, one line per case and subject and one column per metric, and writes
// them to build/bench-NAME.json under the working directory, which should be the repository's root.
func Write(w io.Writer, name string, rows []Row) error {
	if err := table(w, rows); err != nil {
		return fmt.Errorf("report %s: print: %w", name, err)
	}
	data, err := json.MarshalIndent(rows, "", "  ")
	if err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	if err := os.MkdirAll("build", 0o755); err != nil {
		return fmt.Errorf("report %s: %w", name, err)
	}
	path := filepath.Join("build", "bench-"+name+".json")
	if err := os.WriteFile(path, append(data, '\n'), 0o644); err != nil {
		return errors.Join(fmt.Errorf("report %s: %w", name, err), os.Remove(path))
	}
	return nil
}

func table(w io.Writer, rows []Row) error {
	type line struct{ Case, Subject string }
	var lines []line
	var metrics []string
	values := make(map[line]map[string]string)
	for _, row := range rows {
		at := line{row.Case, row.Subject}
		if values[at] == nil {
			values[at] = make(map[string]string)
			lines = append(lines, at)
		}
		metric := row.Metric
		if row.Unit != "" {
			metric += " [" + row.Unit + "]"
		}
		if !contains(metrics, metric) {
			metrics = append(metrics, metric)
		}
		values[at][metric] = number(row.Value)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "case\tsubject\t%s\n", strings.Join(metrics, "\t"))
	for _, at := range lines {
		fmt.Fprintf(t, "%s\t%s", at.Case, at.Subject)
		for _, metric := range metrics {
			value := values[at][metric]
			if value == "" {
				value = "-"
			}
			fmt.Fprintf(t, "\t%s", value)
		}
		fmt.Fprintln(t)
	}
	return t.Flush()
}

func contains(list []string, s string) bool {
	for _, have := range list {
		if have == s {
			return true
		}
	}
	return false
}

// number prints four significant digits, but never cuts the integer part.
func number(v float64) string {
	if math.Abs(v) >= 1000 || v == math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 0, 64)
	}
	return strconv.FormatFloat(v, 'g', 4, 64)
}

// Median returns the middle value of values, or the mean of the two middle ones; NaN for none.
func Median(values []float64) float64 {
	if len(values) == 0 {
		return math.NaN()
	}
	sorted := append([]float64(nil), values...)
	sort.Float64s(sorted)
	middle := len(sorted) / 2
	if len(sorted)%2 == 1 {
		return sorted[middle]
	}
	return (sorted[middle-1] + sorted[middle]) / 2
}
