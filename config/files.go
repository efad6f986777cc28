// SPDX-License-Identifier: Apache-2.0

package config

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
)

// fileReferences refuses names of files that cannot be read: certificates, keys, passwords, tokens. Relative names
// belong to the directory of the file that holds them. Files that Prometheus writes, such as
// scrape_failure_log_file, and the target files of file_sd_configs, which may come later, are not looked for.
func (c *checker) fileReferences(doc *document) {
	if c.opts.SkipFileReferences {
		return
	}
	check := func(value *node, line int, dir string) {
		if value.kind != scalarNode || value.str() == "" {
			return
		}
		path := joinDir(dir, value.value)
		if err := tryOpen(path); err != nil {
			problem, remedy := explainOpen(err)
			c.refuseAt(value, line, fmt.Sprintf("%s: %s: %s", value.path(), path, problem), remedy)
		}
	}
	eachSetting(doc.root, func(owner *node, f field) {
		switch {
		case f.name.value == "http_headers":
			for _, header := range f.value.fields {
				if files := header.value.get("files"); files != nil {
					for _, file := range files.items {
						check(file, file.line, doc.dir())
					}
				}
			}
		case namesFile(f.name.value):
			check(f.value, f.name.line, referenceDir(owner, doc.dir()))
		}
	})
}

func namesFile(name string) bool {
	return slices.Contains([]string{
		"ca_file", "cert_file", "key_file", "credentials_file", "password_file", "username_file", "bearer_token_file",
		"client_secret_file", "client_certificate_key_file", "kubeconfig_file",
		"certificate_path", "certificate_key_path", "token_file_path",
	}, name)
}

// referenceDir is where Prometheus looks for a relative file name: the sections of Azure and Google are not told about
// the directory of the config, so there it is the one the process runs in.
func referenceDir(owner *node, dir string) string {
	for n := owner; n.parent != nil; n = n.parent {
		if n.parent.get("azuread") == n || n.parent.get("google_iam") == n {
			return "."
		}
	}
	return dir
}

// tryOpen says whether a file can be read. It never blocks on what is no regular file.
func tryOpen(path string) error {
	info, err := os.Stat(path)
	switch {
	case err != nil:
		return err
	case info.IsDir():
		return errIsDir
	case !info.Mode().IsRegular():
		return nil
	}
	f, err := os.Open(filepath.Clean(path))
	if err != nil {
		return err
	}
	return f.Close()
}
