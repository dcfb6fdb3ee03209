package verify

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/instarhq/instar/sdk"
	"github.com/instarhq/instar/sdk/sdktest"
)

// Report is the outcome of a verification. The driver's name, version and kind are empty if it did not
// even start.
type Report struct {
	Binary  string           `json:"binary"`
	Driver  string           `json:"driver,omitempty"`
	Version string           `json:"version,omitempty"`
	Kind    sdk.Kind         `json:"kind,omitempty"`
	Began   time.Time        `json:"began"`
	Took    time.Duration    `json:"took"`
	Results []sdktest.Result `json:"results"`
}

// OK reports whether nothing failed.
func (r *Report) OK() bool {
	_, failed, _ := r.Count()
	return failed == 0
}

// Count counts the results by status.
func (r *Report) Count() (passed, failed, skipped int) {
	for _, result := range r.Results {
		switch result.Status {
		case sdktest.Passed:
			passed++
		case sdktest.Failed:
			failed++
		case sdktest.Skipped:
			skipped++
		}
	}
	return passed, failed, skipped
}

// Table writes one line for each check, with the details of those that did not pass, and a summary.
func (r *Report) Table(w io.Writer) error {
	width := len("CHECK")
	for _, result := range r.Results {
		width = max(width, len(result.Name))
	}
	var out strings.Builder
	fmt.Fprintf(&out, "%-*s  RESULT  TIME\n", width, "CHECK")
	for _, result := range r.Results {
		fmt.Fprintf(&out, "%-*s  %-6s  %s\n", width, result.Name, result.Status, result.Took.Round(time.Millisecond))
		if result.Status != sdktest.Passed {
			for line := range strings.SplitSeq(result.Detail, "\n") {
				fmt.Fprintf(&out, "  | %s\n", line)
			}
		}
	}
	fmt.Fprintf(&out, "\n%s: %s\n", r.Subject(), r.Summary())
	_, err := io.WriteString(w, out.String())
	return err
}

// Subject names what was verified: the driver, or the binary if it did not say what it is.
func (r *Report) Subject() string {
	if r.Driver == "" && r.Kind == "" {
		return r.Binary
	}
	return fmt.Sprintf("%s driver %q %s", r.Kind, r.Driver, r.Version)
}

// Summary counts the results, in words.
func (r *Report) Summary() string {
	passed, failed, skipped := r.Count()
	return fmt.Sprintf("%d passed, %d failed, %d skipped in %s", passed, failed, skipped, r.Took.Round(time.Millisecond))
}

type junitSuite struct {
	XMLName  xml.Name    `xml:"testsuite"`
	Name     string      `xml:"name,attr"`
	Tests    int         `xml:"tests,attr"`
	Failures int         `xml:"failures,attr"`
	Errors   int         `xml:"errors,attr"`
	Skipped  int         `xml:"skipped,attr"`
	Time     string      `xml:"time,attr"`
	Stamp    string      `xml:"timestamp,attr"`
	Cases    []junitCase `xml:"testcase"`
}

type junitCase struct {
	Class   string        `xml:"classname,attr"`
	Name    string        `xml:"name,attr"`
	Time    string        `xml:"time,attr"`
	Failure *junitMessage `xml:"failure"`
	Skipped *junitMessage `xml:"skipped"`
}

type junitMessage struct {
	Message string `xml:"message,attr"`
	Type    string `xml:"type,attr,omitempty"` // of a failure
	Text    string `xml:",chardata"`
}

// JUnit writes the report as JUnit XML, which CI systems read.
func (r *Report) JUnit(w io.Writer) error {
	_, failed, skipped := r.Count()
	class := strings.Trim("instar."+string(r.Kind)+"."+r.Driver, ".")
	suite := junitSuite{
		Name: class, Tests: len(r.Results), Failures: failed, Skipped: skipped,
		Time: seconds(r.Took), Stamp: r.Began.UTC().Format("2006-01-02T15:04:05"),
	}
	for _, result := range r.Results {
		c := junitCase{Class: class, Name: result.Name, Time: seconds(result.Took)}
		first, _, _ := strings.Cut(result.Detail, "\n")
		switch result.Status {
		case sdktest.Failed:
			c.Failure = &junitMessage{Message: printable(first), Type: "promise", Text: printable(result.Detail)}
		case sdktest.Skipped:
			c.Skipped = &junitMessage{Message: printable(first)}
		case sdktest.Passed:
		}
		suite.Cases = append(suite.Cases, c)
	}
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	e := xml.NewEncoder(w)
	e.Indent("", "  ")
	if err := e.Encode(suite); err != nil {
		return fmt.Errorf("report as JUnit XML: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

// printable leaves out what XML cannot hold, and escapes of terminals in the output of a driver.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 && r != '\n' && r != '\t' {
			return '\uFFFD'
		}
		return r
	}, text)
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.3f", d.Seconds()) }
