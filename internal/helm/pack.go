package helm

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"helm.sh/helm/v3/pkg/chartutil"
	"helm.sh/helm/v3/pkg/ignore"
)

// maxChart bounds a packed chart, in bytes before compression.
const maxChart = 64 << 20

// Pack makes an archive of a chart's folder. The same files always give the same bytes, so that the
// digest of a chart in the repository means something.
func Pack(fsys fs.FS, dir string) ([]byte, error) {
	rawMeta, err := fs.ReadFile(fsys, path.Join(dir, "Chart.yaml"))
	if err != nil {
		return nil, fmt.Errorf("not a chart: %w", err)
	}
	name, err := chartName(rawMeta)
	if err != nil {
		return nil, err
	}
	rules := ignore.Empty()
	if raw, err := fs.ReadFile(fsys, path.Join(dir, chartutil.IgnorefileName)); err == nil {
		if rules, err = ignore.Parse(bytes.NewReader(raw)); err != nil {
			return nil, fmt.Errorf("%s: %w", chartutil.IgnorefileName, err)
		}
	}
	rules.AddDefaults()
	var out bytes.Buffer
	zip := gzip.NewWriter(&out)
	archive := tar.NewWriter(zip)
	if err := packFiles(archive, fsys, dir, name, rules); err != nil {
		return nil, err
	}
	if err := errors.Join(archive.Close(), zip.Close()); err != nil {
		return nil, err
	}
	return out.Bytes(), nil // only now: closing writes the archive's end
}

func packFiles(archive *tar.Writer, fsys fs.FS, dir, name string, rules *ignore.Rules) error {
	total := int64(0)
	return fs.WalkDir(fsys, dir, func(file string, d fs.DirEntry, err error) error {
		if err != nil || file == dir {
			return err
		}
		rel := file
		if dir != "." {
			rel = file[len(dir)+1:]
		}
		info, err := d.Info()
		switch {
		case err != nil:
			return err
		case rules.Ignore(rel, info) && d.IsDir():
			return fs.SkipDir
		case rules.Ignore(rel, info) || d.IsDir():
			return nil
		case !info.Mode().IsRegular():
			return fmt.Errorf("%s is not a regular file: a chart holds regular files only", rel)
		}
		raw, err := fs.ReadFile(fsys, file)
		if err != nil {
			return err
		}
		if total += int64(len(raw)); total > maxChart {
			return fmt.Errorf("the chart has more than %d MiB", maxChart>>20)
		}
		header := &tar.Header{Name: path.Join(name, rel), Mode: 0o644, Size: int64(len(raw)), ModTime: time.Unix(0, 0), Typeflag: tar.TypeReg}
		if err := archive.WriteHeader(header); err != nil {
			return err
		}
		_, err = archive.Write(raw)
		return err
	})
}
