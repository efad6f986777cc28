#!/bin/sh
# Writes an overlay for "go build -overlay" that makes the program a third smaller, and prints its path.
#
# Templates of the standard library find methods by names that the linker cannot know, so it keeps every exported
# method of every type, those of all Kubernetes clients among them. In the overlay text/template finds only methods
# whose names stand in a template of this program: those of agent/web/pages and of kingpin. Where the library is not
# as this script knows it, the overlay is empty, the program as large as without, and a line on stderr says so.
#
# usage: cmd/lean.sh, in the root of the repository
set -eu

out=.cache/lean
call='ptr.MethodByName(fieldName)'
mkdir -p "$out"
exec=$(go env GOROOT)/src/text/template/exec.go
kingpin=$(go list -m -f '{{.Dir}}' github.com/alecthomas/kingpin/v2)

if [ "$(grep -cF "$call" "$exec")" != 1 ]; then
  echo "cmd/lean.sh: $exec does not look up methods as expected; the program will be a third larger" >&2
  echo '{"Replace": {}}' >"$out/overlay.json"
  echo "$out/overlay.json"
  exit
fi

# Between the braces, whatever begins with a point and a capital letter.
names=$(cat agent/web/pages/*.html "$kingpin/templates.go" | tr '\n' ' ' | sed 's/{{/\n{{/g; s/}}/}}\n/g' |
  grep '^{{' | grep -o '\.[A-Z][A-Za-z0-9_]*' | tr -d . | sort -u)

{
  sed 's/ptr\.MethodByName(fieldName)/methodNamed(ptr, fieldName)/' "$exec"
  echo
  echo '// methodNamed has each name as a constant, by which the linker knows what it must keep.'
  echo 'func methodNamed(of reflect.Value, name string) reflect.Value {'
  echo '	switch name {'
  for name in $names; do
    printf '	case "%s":\n\t\treturn of.MethodByName("%s")\n' "$name" "$name"
  done
  echo '	}'
  echo '	return reflect.Value{}'
  echo '}'
} >"$out/exec.go"
printf '{"Replace": {"%s": "%s"}}\n' "$exec" "$PWD/$out/exec.go" >"$out/overlay.json"
echo "$out/overlay.json"
