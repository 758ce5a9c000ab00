#!/usr/bin/env bash
# The host's own programs, with their libraries, in a guest: what they print of
# what they compute is what they print on the host. They take the fastest code
# that CPUID allows, so this is vector instructions as compilers and
# cryptographers use them.
# shellcheck source=lib/tap.sh
. "$(dirname "$0")/../lib/tap.sh"

PATH=$PATH:/usr/sbin:/sbin
"$top/tools/guest" "$VMM_GUEST" >"$work/log" 2>&1 || {
	diag "$(tail -n 20 "$work/log")"
	echo "Bail out! tools/guest failed"
	exit 1
}
cd "$work" || exit 1

# Each line of its output is compared; "== NAME" says whose lines follow. What
# is not installed on the host says nothing in both.
cat >programs <<'END2'
export LC_ALL=C OPENSSL_CONF=/dev/null PYTHONHOME=/usr
export PYTHONDONTWRITEBYTECODE=1
seq 1 200000 >seq
echo == digests
for hash in md5 sha1 sha256 sha512 sha3-256 blake2b512 sm3; do
	"$bin/openssl" dgst -$hash seq
done
echo == ciphers
key=00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff
for cipher in aes-128-cbc aes-256-ctr chacha20 camellia-128-cbc \
    aria-128-cbc; do
	"$bin/openssl" enc -$cipher -K "$key" -in seq \
	    -iv 0102030405060708090a0b0c0d0e0f10 2>/dev/null | sha256sum
done
echo == signatures
"$bin/openssl" prime 170141183460469231731687303715884105727
sign() {
	"$bin/openssl" dgst -sha256 -sign key -out signature seq
	"$bin/openssl" pkey -in key -pubout -out public
	"$bin/openssl" dgst -sha256 -verify public -signature signature seq
}
"$bin/openssl" genrsa -out key 1024 2>/dev/null
sign
"$bin/openssl" ecparam -name prime256v1 -genkey -noout -out key
sign
echo == xz
"$bin/xz" -T1 -3 -c seq | sha256sum
"$bin/xz" -3 -c seq | "$bin/xz" -dc | sha256sum
echo == sqlite3
"$bin/sqlite3" :memory: "create table t(a integer primary key, b real, c text);
with recursive n(i) as (select 1 union all select i + 1 from n where i < 20000)
insert into t select i, sqrt(i) * 1.5, hex(i * 7919) from n;
create index x on t(c);
select count(*), sum(b), min(c), max(c), avg(a) from t;
select a, b from t order by c limit 5;"
echo == python3
"$bin/python3" - <<'END3'
import math, struct, hashlib, random, zlib, decimal
digest = hashlib.sha256()
r = random.Random(7)
for f in (math.sin, math.cos, math.tan, math.exp, math.atan, math.sinh,
    math.erf, math.log1p, math.gamma):
    for n in range(3000):
        digest.update(struct.pack('<d', f(r.uniform(0.001, 20))))
    print(f.__name__, digest.hexdigest())
print(pow(3, 10**5, 2**2203 - 1) % 10**20, 7**5000 // 3**2000 % 10**30)
print(zlib.crc32(r.randbytes(1 << 18)),
    zlib.adler32(zlib.compress(r.randbytes(1 << 16))))
decimal.getcontext().prec = 200
print(decimal.Decimal(2).sqrt())
for n in range(20):
    print(float(repr(r.random() * 10**r.randint(-300, 300))))
print(math.fsum([.1] * 1000), 1e308 * 10, (0.1).hex(), round(2.675, 2))
END3
echo == end
END2

# --- the programs and their libraries ----------------------------------------

lib=lib/x86_64-linux-gnu
mkdir -p host bin "image/programs" "image/$lib" image/lib64 image/usr/lib
libraries() {
	local file
	for file in $(ldd "$1" | grep -o '/[^ ]*\.so[^ ]*'); do
		case $file in
		/lib64/*)	cp -Ln "$file" image/lib64 ;;
		*)		cp -Ln "$file" "image/$lib" ;;
		esac
	done
}
for name in openssl xz sqlite3 python3; do
	[ -x "/usr/bin/$name" ] || continue
	ln -s "/usr/bin/$name" bin/
	cp -L "/usr/bin/$name" image/programs/
	libraries "/usr/bin/$name"
done
if [ -x /usr/bin/python3 ]; then
	python=/usr/lib/$(basename "$(readlink -f /usr/bin/python3)")
	tar -c -C / --exclude=test --exclude=__pycache__ --exclude='config-*' \
	    --exclude='*.a' "${python#/}" | tar -x -C image
	for file in "$python"/lib-dynload/*.so; do
		libraries "$file"
	done
fi
{
	echo 'cd /tmp; bin=/programs'
	cat programs
} >image/programs/run
{
	cat "$VMM_GUEST/initrd.img"
	(cd image && find . | cpio --quiet -o -H newc -R +0:+0)
} >initrd.img

# --- both --------------------------------------------------------------------

(cd host && bin=$work/bin bash ../programs >../host.out 2>/dev/null </dev/null)
# shellcheck disable=SC2034 # of run
limit=900
run run -m 768M -b "$VMM_GUEST/vmlinuz" --initrd initrd.img --net none \
    --append "console=ttyS0 quiet vmm.run=sh,/programs/run,2>/dev/null"
is "$status" 0 "the guest ran them"

# part NAME: what follows "== NAME" in the input.
part() {
	sed -n "/^== $1\$/,/^== /p" | grep -v '^== '
}
like "$out" '== end' "to the end"
for name in digests ciphers signatures xz sqlite3 python3; do
	want=$(part "$name" <host.out)
	if [ -z "$want" ]; then
		skip "$name" "not on the host"
	else
		is "$(part "$name" <<<"$out")" "$want" "$name"
	fi
done
done_testing
