#!/usr/bin/env bash
# The benchmark's workloads compute what they should, the same whatever the
# compiler makes of them; and what prints the results does.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/lib/tap.sh"

cd "$top/bench/workloads" || exit 1
flags=(-std=gnu17 -D_GNU_SOURCE -Wall -Wextra -Werror)
flags+=('-fsanitize=address,undefined' -fno-sanitize-recover=all)
matmul=(-DMATMUL_AVX2 -ffp-contract=off)
if ! "${CC:-cc}" "${flags[@]}" "${matmul[@]}" -c -o "$work/avx2.o" matmul.c \
    2>"$work/log" || ! "${CC:-cc}" "${flags[@]}" -o "$work/work" work.c \
    calls.c matmul.c memory.c sha256.c bytecode.c kernel.c "$work/avx2.o" \
    2>"$work/log"; then
	diag "$(cat "$work/log")"
	echo "Bail out! the workloads do not compile"
	exit 1
fi
export ASAN_OPTIONS=detect_leaks=0

# value NAME: what the workload computed, in hexadecimal.
value() {
	"$work/work" "$1" 1 2>&1 | sed -n 's/.* 0*\(.\)/\1/p'
}

is "$(value fib)" "$(printf %x 196418)" "fib(27)"
is "$(value sha256)" "$(head -c 65536 /dev/zero | sha256sum | cut -c 1-16)" \
    "SHA-256 of 64 KiB of zeros"
is "$(value strlen-16m)" 1000000 "strlen"
is "$(value matmul)" "$(value matmul-avx2)" "matrices, with AVX2 or without"
# The primes below 8192, and the steps of the Collatz sequences below 400.
is "$(value bytecode)" "$(python3 - <<'END'
n = sum(all(i % d for d in range(2, int(i**.5) + 1)) for i in range(2, 8192))
for i in range(1, 400):
    while i != 1:
        i, n = 3 * i + 1 if i % 2 else i // 2, n + 1
print("%x" % n)
END
)" "the bytecode's primes and Collatz sequences"
for name in qsort fnv1a store-byte copy-8 memset-64 memcpy-16m chase-32k \
    chase-4m tree getppid pipe page-fault; do
	like "$("$work/work" "$name" 1 2>&1)" '^[0-9.]+ [0-9]+ [0-9a-f]{16}$' \
	    "$name runs"
done
"$work/work" nothing 1 >/dev/null 2>&1
is $? 2 "an unknown workload is refused"

"${CC:-cc}" "${flags[@]}" -o "$work/io" io.c 2>"$work/log"
ok $? "what measures disks and networks compiles" "$work/log"
"$work/io" disk-raw-seq-read-0 1 >/dev/null 2>&1
is $? 2 "a row that is none is refused"
like "$("$work/io" disk-raw-seq-read-1 1 2>&1)" '/dev/vdb: ' \
    "a disk that is not there is said"

python3 -S large.py >"$work/large.c"
is "$(wc -l <"$work/large.c")" 2000 "the large C file has 2,000 lines"
"${CC:-cc}" -std=gnu17 -Wall -Wextra -Werror -Wno-maybe-uninitialized \
    -c -o "$work/large.o" "$work/large.c" >"$work/log" 2>&1
ok $? "and compiles" "$work/log"

# --- what prints the results -------------------------------------------------

cat >"$work/result.json" <<'END'
{"engines": {"native": [], "vmm": [], "tcg": []},
 "rows": [{"name": "fib", "title": "a < b", "target": {"native": 1.7, "tcg": 5},
   "median_ns": {"native": 1000, "vmm": 1500, "tcg": 9000}},
  {"name": "gcc", "title": "gcc", "target": {"native": 3, "tcg": 8},
   "median_ns": {"native": 1000, "vmm": null, "tcg": 24000}},
  {"name": "boot", "title": "boot", "target": {"native": null, "tcg": 3},
   "median_ns": {"vmm": 1000, "tcg": 2000}}]}
END
"$top/bench/plot" "$work/result.json" >"$work/plot.svg" 2>"$work/log"
ok $? "the plot is made" "$work/log"
is "$(python3 - "$work/plot.svg" <<'END'
import sys, xml.etree.ElementTree as xml
print([t.text for t in xml.parse(sys.argv[1]).getroot().iter()
    if t.text in ("a < b", "gcc", "boot", "1.5", "9", "24")])
END
)" "['a < b', '1.5', '9', 'gcc', '24']" "and is what was measured"
done_testing
