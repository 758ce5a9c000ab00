#!/usr/bin/env bash
# The public headers compile as the only include, without a warning, with both
# compilers and in every language version that a client may use.
set -u
cd "$(dirname "$0")/.." || exit 1
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
n=0
status=0
check() {	# name, command...
	local name=$1
	shift
	n=$((n + 1))
	if "$@" >"$tmp/log" 2>&1; then
		echo "ok $n - $name"
	else
		echo "not ok $n - $name"
		sed 's/^/# /' "$tmp/log"
		status=1
	fi
}
# shellcheck disable=SC2317,SC2329 # called by check
must_fail() {
	! "$@"
}

flags=(-Iinclude -pedantic -pedantic-errors -Wall -Wextra -Wshadow -Werror
    -fsyntax-only)
for compiler in gcc clang; do
	if ! command -v "$compiler" >/dev/null; then
		n=$((n + 1))
		echo "ok $n - $compiler # SKIP not installed"
		continue
	fi
	for header in machine/vmmvar.h vmm.h; do
		echo "#include <$header>" >"$tmp/a.c"
		cat >>"$tmp/a.c" <<-'END'
		struct vm_exit an_exit;
		extern unsigned long commands[3];
		unsigned long commands[3] = {
			VMM_IOC_CREATE, VMM_IOC_INFO, VMM_IOC_MPROTECT_EPT
		};
		END
		for std in c99 c11 c17 gnu99 gnu17; do
			check "$header $compiler -std=$std" "$compiler" \
			    -std=$std "${flags[@]}" "$tmp/a.c"
		done
		for std in c++11 c++14 c++17 c++20 gnu++17; do
			check "$header $compiler -std=$std" "$compiler" -x c++ \
			    -std=$std "${flags[@]}" "$tmp/a.c"
		done
	done
	# The assertions are live: a wrong layout does not compile.
	sed 's/vei_encoding;/vei_encoding, vei_more[2];/' \
	    include/machine/vmmvar.h >"$tmp/bad.h"
	echo '#include "bad.h"' >"$tmp/bad.c"
	check "$compiler refuses a changed layout" must_fail "$compiler" \
	    -std=c99 -fsyntax-only -I"$tmp" "$tmp/bad.c"
done
echo "1..$n"
exit "$status"
