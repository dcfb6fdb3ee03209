package docker

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"regexp"
	"strconv"
	"strings"

	"github.com/instarhq/instar/sdk"
)

// The labels of every container that the driver makes.
const (
	labelPrefix     = "instar."
	labelInstance   = labelPrefix + "instance"
	labelCluster    = labelPrefix + "cluster"
	labelGeneration = labelPrefix + "generation"
	labelService    = labelPrefix + "service"
	labelRevision   = labelPrefix + "revision"
	labelDigest     = labelPrefix + "revision-digest"
	labelNode       = labelPrefix + "node"
	labelImmutable  = labelPrefix + "immutable"
	labelPort       = labelPrefix + "port." // and the port's name: the number inside the container
)

// idRE keeps ids usable as file names and as part of containers' names.
var idRE = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$`)

func checkID(id string) error {
	if idRE.MatchString(id) {
		return nil
	}
	return sdk.InvalidConfig("id", "%q: an instance id has 1 to 128 of letters, digits, dot, _ and -, and begins with a letter or digit", id)
}

// containerName is the only name that the container of an instance can have. Several clusters may share an
// engine, and their instances may have the same ids.
func containerName(cluster, id string) string {
	sum := sha256.Sum256([]byte(cluster))
	return "instar-" + id + "-" + hex.EncodeToString(sum[:4])
}

// labelsOf are the labels of an instance's container.
func labelsOf(spec sdk.InstanceSpec, node string, cfg workloadConfig, ports map[string]int) map[string]string {
	labels := maps.Clone(cfg.Labels)
	if labels == nil {
		labels = map[string]string{}
	}
	labels[labelInstance] = spec.ID
	labels[labelCluster] = spec.Cluster
	labels[labelGeneration] = strconv.FormatUint(spec.Generation, 10)
	labels[labelService] = spec.Service
	labels[labelRevision] = strconv.Itoa(spec.Revision)
	labels[labelDigest] = spec.RevisionDigest
	labels[labelNode] = node
	if cfg.Immutable {
		labels[labelImmutable] = "true"
	}
	for name, number := range ports {
		labels[labelPort+name] = strconv.Itoa(number)
	}
	return labels
}

// isOurs reports whether a container is one that this driver made. Labels alone do not say so: an image that
// was committed from an instance passes them on to every container that is made from it.
func (t *target) isOurs(id, name string, labels map[string]string) bool {
	instance, cluster := labels[labelInstance], labels[labelCluster]
	if !idRE.MatchString(instance) || cluster == "" {
		return false
	}
	if strings.TrimPrefix(name, "/") == containerName(cluster, instance) {
		return true
	}
	// One that was renamed by hand is known by its id.
	rec, err := t.readRecord(instance)
	return err == nil && rec.Container == id
}

// described is what the labels say.
func described(labels map[string]string) sdk.Instance {
	generation, _ := strconv.ParseUint(labels[labelGeneration], 10, 64) // 0 for one that cannot be read
	revision, _ := strconv.Atoi(labels[labelRevision])
	return sdk.Instance{
		ID: labels[labelInstance], Cluster: labels[labelCluster], Generation: generation,
		Service: labels[labelService], Revision: revision, RevisionDigest: labels[labelDigest],
	}
}

// portsOf reads the ports inside the container from its labels.
func portsOf(labels map[string]string) map[string]int {
	ports := map[string]int{}
	for label, value := range labels {
		if name, ok := strings.CutPrefix(label, labelPort); ok {
			if number, err := strconv.Atoi(value); err == nil {
				ports[name] = number
			}
		}
	}
	return ports
}
