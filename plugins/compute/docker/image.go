package docker

import (
	"context"
	"errors"
	"regexp"
	"strings"

	"github.com/distribution/reference"
	"github.com/moby/moby/api/types/image"
	"github.com/moby/moby/client"
	"github.com/opencontainers/go-digest"

	"github.com/instarhq/instar/sdk"
)

// podmanLocal is where Podman has images that were built or loaded: it gives them digests, too.
const podmanLocal = "localhost"

var digestRE = regexp.MustCompile(`^sha256:[0-9a-f]{64}$`)

// source is an artifact's source: an image's id, or a name with a tag, a digest or both.
type source struct {
	id  string          // "sha256:…"
	ref reference.Named // nil for an id
}

// parse reads a source as Docker does: a name without a registry is one of Docker's, a name without a tag
// means latest.
func parse(text string) (source, error) {
	switch {
	case text == "":
		return source{}, sdk.InvalidConfig("artifact.source", "it is required: an image such as registry.example/web:1.2, or the id of one that the engine has")
	case digestRE.MatchString(text):
		return source{id: text}, nil
	case strings.HasPrefix(text, "sha256:"):
		return source{}, sdk.InvalidConfig("artifact.source", "%q is not a whole id: sha256: and 64 hexadecimal digits", text)
	}
	ref, err := reference.ParseNormalizedNamed(text)
	if err != nil {
		return source{}, sdk.InvalidConfig("artifact.source", "%q is no image: %w", text, err)
	}
	if d, ok := ref.(reference.Digested); ok && !digestRE.MatchString(d.Digest().String()) {
		return source{}, sdk.InvalidConfig("artifact.source", "%q: only sha256 digests are supported", text)
	}
	return source{ref: reference.TagNameOnly(ref)}, nil
}

// pinned is the name with a digest, and without the tag.
func (s source) pinned(d string) string {
	return reference.FamiliarName(s.ref) + "@" + d
}

// resolve is Resolve: what the registry has is pinned by the digest that it has now, what only the engine has
// by its id.
func (t *target) resolve(ctx context.Context, a sdk.Artifact) (sdk.Artifact, error) {
	s, err := parse(a.Source)
	if err != nil {
		return sdk.Artifact{}, err
	}
	if s.ref == nil {
		img, err := t.image(ctx, s.id)
		if err != nil {
			return sdk.Artifact{}, err
		}
		a.Digest = img.ID
	} else if a.Digest, err = t.digestOf(ctx, s); err != nil {
		return sdk.Artifact{}, err
	}
	if a.Checksum != "" && a.Checksum != a.Digest {
		return sdk.Artifact{}, sdk.InvalidConfig("artifact.checksum", "%s is %s, not %s", a.Source, a.Digest, a.Checksum)
	}
	return a, nil
}

// digestOf asks the registry, unless the image is the engine's own: one that was never pulled or pushed has no
// registry, and somebody else's of the same name must not take its place.
func (t *target) digestOf(ctx context.Context, s source) (string, error) {
	local, err := t.image(ctx, localName(s.ref))
	if err != nil && sdk.CodeOf(err) != sdk.CodeNotFound {
		return "", err
	}
	if d, ok := s.ref.(reference.Digested); ok && local.ID != "" {
		return d.Digest().String(), nil // its content is in its name
	}
	if local.ID != "" && len(local.RepoDigests) == 0 {
		return local.ID, nil
	}
	if local.ID != "" && reference.Domain(s.ref) == podmanLocal {
		if podman, err := t.isPodman(ctx); err != nil || podman {
			return local.ID, err
		}
	}
	auth, err := t.authFor(ctx, s.ref)
	if err != nil {
		return "", err
	}
	remote, err := t.ask(ctx, s.ref, auth)
	switch {
	case err == nil:
		return remote, nil
	case local.ID == "" || ctx.Err() != nil:
		return "", err
	case sdk.CodeOf(err) == sdk.CodeNotFound, sdk.CodeOf(err) == sdk.CodeInvalidConfig && auth == "":
		return local.ID, nil // no registry has it; to nobody, some say so by refusing
	}
	return "", hint(err, "; the engine has an image of that name: to take it as it is, name it by its id, "+local.ID)
}

// hint adds advice to an error and leaves its code alone.
func hint(err error, advice string) error {
	var typed *sdk.Error
	if !errors.As(err, &typed) {
		return err
	}
	hinted := *typed
	hinted.Message += advice
	return &hinted
}

// localName is what the engine's own images are looked up by.
func localName(ref reference.Named) string {
	if d, ok := ref.(reference.Digested); ok {
		return reference.FamiliarName(ref) + "@" + d.Digest().String()
	}
	return reference.FamiliarString(ref)
}

// ask asks the registry which digest a name has now.
func (t *target) ask(ctx context.Context, ref reference.Named, auth string) (string, error) {
	podman, err := t.isPodman(ctx)
	if err != nil {
		return "", err
	}
	if podman {
		return t.askByPull(ctx, ref) // it has no way to ask without pulling
	}
	var d digest.Digest
	err = t.engine.ask(ctx, registryFor, "ask the registry for "+reference.FamiliarString(ref), func(ctx context.Context, api *client.Client) error {
		result, err := api.DistributionInspect(ctx, localName(ref), client.DistributionInspectOptions{EncodedRegistryAuth: auth})
		d = result.Descriptor.Digest
		return err
	})
	if err != nil {
		return "", t.explainRegistry(ref, err)
	}
	if !digestRE.MatchString(d.String()) {
		return "", sdk.Unavailable(retryAfter, "the registry gives %s the digest %q, which is none", reference.FamiliarString(ref), d)
	}
	return d.String(), nil
}

func (t *target) askByPull(ctx context.Context, ref reference.Named) (string, error) {
	if err := t.pull(ctx, ref, reference.FamiliarString(ref), nil); err != nil {
		return "", err
	}
	img, err := t.image(ctx, localName(ref))
	if err != nil {
		return "", err
	}
	for _, r := range img.RepoDigests {
		name, d, _ := strings.Cut(r, "@")
		if named, err := reference.ParseNormalizedNamed(name); err == nil && named.Name() == ref.Name() && digestRE.MatchString(d) {
			return d, nil
		}
	}
	return img.ID, nil
}

// image reads one of the engine's images by name or id.
func (t *target) image(ctx context.Context, name string) (image.InspectResponse, error) {
	var img image.InspectResponse
	err := t.engine.ask(ctx, askFor, "look for image "+name, func(ctx context.Context, api *client.Client) error {
		result, err := api.ImageInspect(ctx, name)
		img = result.InspectResponse
		return err
	})
	if err == nil && !strings.HasPrefix(img.ID, "sha256:") && img.ID != "" {
		img.ID = "sha256:" + img.ID // Podman's
	}
	return img, err
}

// fetch makes an image ready and returns how containers are made from it.
func (t *target) fetch(ctx context.Context, a sdk.Artifact, progress func(sdk.FetchProgress)) (string, error) {
	s, err := parse(a.Source)
	if err != nil {
		return "", err
	}
	if !digestRE.MatchString(a.Digest) {
		return "", sdk.InvalidConfig("artifact.digest", "%q is not pinned: Resolve does that", a.Digest)
	}
	unlock, err := t.pulls.Lock(ctx, a.Digest)
	if err != nil {
		return "", err
	}
	defer unlock()
	if name, err := t.present(ctx, s, a.Digest); err == nil || sdk.CodeOf(err) != sdk.CodeNotFound {
		return name, err
	}
	if s.ref == nil {
		return "", sdk.NotFound("the engine has no image %s: an image that is named by its id must be loaded on every node that may run it", a.Digest)
	}
	name := s.pinned(a.Digest)
	if err := t.noteImage(a.Digest, name); err != nil {
		return "", err
	}
	if err := t.pull(ctx, s.ref, name, progress); err != nil {
		if sdk.CodeOf(err) == sdk.CodeNotFound {
			return "", sdk.NotFound("%w; neither has the engine an image with this id: one that was built on another node must be loaded here, too", err)
		}
		return "", err
	}
	// Again, for Prune may have come in between.
	if err := t.noteImage(a.Digest, name); err != nil {
		return "", err
	}
	return t.present(ctx, s, a.Digest)
}

// present finds an image that the engine has already.
func (t *target) present(ctx context.Context, s source, d string) (string, error) {
	if s.ref != nil {
		name := s.pinned(d)
		if _, err := t.image(ctx, name); err == nil || sdk.CodeOf(err) != sdk.CodeNotFound {
			return name, err
		}
	}
	_, err := t.image(ctx, d)
	return d, err
}
