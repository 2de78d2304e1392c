package dokkaacfg

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
)

// loadImages brings the images onto all hosts at the same time: each of them is there or not, so an up
// that was interrupted goes on with the next.
func (i *installation) loadImages(ctx context.Context) error {
	images, err := readImages(i.images)
	if err != nil {
		return err
	}
	var from imageRegistry
	if i.registry != "" {
		from = newImageRegistry(i.registry)
		images = slices.DeleteFunc(images, func(image imageFile) bool { return !from.has(image) })
	}
	var loaded, bytes atomic.Int64
	err = i.onEach(ctx, func(ctx context.Context, host Host) (err error) {
		step := i.progress.step(host.IP().String(), "images")
		defer func() { step.end(err) }()
		engine := i.engines[host.IP()]
		for _, image := range images {
			step.doing("%s", image.tag)
			var did bool
			var sent int64
			if i.registry != "" {
				did, err = engine.pull(ctx, image, from)
			} else {
				sent, err = engine.load(ctx, image, step.sent)
				did = sent > 0
			}
			if err != nil {
				return fmt.Errorf("host %s: %w", host.IP(), err)
			}
			if bytes.Add(sent); did {
				loaded.Add(1)
			}
		}
		return nil
	})
	if err != nil {
		return err
	}
	with := ", with " + megabytes(bytes.Load())
	if i.registry != "" {
		with = ", from " + i.registry
	}
	i.progress.done("images: %d on each host, %d loaded now%s", len(images), loaded.Load(), with)
	return nil
}
