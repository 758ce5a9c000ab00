/*
 * Code that the bare CPU may execute for the guest.
 *
 * Instructions of CPL 3 that neither trap nor do what the guest's CPU does:
 * those that show the host's CPU (CPUID, RDTSCP, RDPID, RDPRU, XGETBV, SMSW),
 * its tables (SGDT, SIDT, SLDT, STR, LAR, LSL, VERR, VERW, LFS, LGS, LSS), its
 * protection keys, or that save a state of its size (XSAVE's family); system
 * calls by other doors than SYSCALL, which lose registers.
 *
 * What guest code could do with them is learn of the host's CPU, not more; so
 * it is enough to find those that programs have. Their bytes, 0F xx or CD 80,
 * are looked for everywhere, and common inside others, such as displacements.
 * Then the code before is decoded from SWEEPS bytes in a row, far enough away
 * for most of these to meet in the right instructions: one has to arrive.
 *
 * SDM vol. 2, appendix A. Any thread.
 */
#include "engine/soft/direct/scan.h"

#define SWEEPS	16
#define MOD3(m)	((m) >= 0xc0)
#define REG(m)	((m) >> 3 & 7)

/* 0F 01 /r, by ModRM. */
static bool
group7(uint8_t m)
{
	if (!MOD3(m))		/* LGDT, LIDT, LMSW, INVLPG trap */
		return (REG(m) == 2 || REG(m) == 3 || REG(m) >= 6);
	return (m == 0xd5 || m == 0xd6);	/* XEND, XTEST */
}

/* 0F m, ... behind it; known: how many bytes are there. What has to be known
 * and is not is harmful: code that goes on in a page that is not there yet. */
static bool
harmless(const uint8_t *p, size_t known, bool xsave)
{
	if (known < 2)
		return (false);
	switch (p[1]) {
	case 0x02:	/* LAR */
	case 0x03:	/* LSL */
	case 0x34:	/* SYSENTER */
	case 0xa2:	/* CPUID */
	case 0xb2:	/* LSS */
	case 0xb4:	/* LFS */
	case 0xb5:	/* LGS */
		return (false);
	case 0x00:	/* LLDT and LTR trap */
		return (known >= 3 && (REG(p[2]) == 2 || REG(p[2]) == 3));
	case 0x01:
		return (known >= 3 && group7(p[2]));
	case 0xae:	/* XSAVE, XRSTOR, XSAVEOPT */
		return (xsave || (known >= 3 && (MOD3(p[2]) ||
		    REG(p[2]) < 4 || REG(p[2]) == 7)));
	case 0xc7:	/* XRSTORS, XSAVEC, XSAVES; RDPID shares with RDSEED */
		if (known < 3)
			return (false);
		if (MOD3(p[2]))
			return (REG(p[2]) != 7);
		return (xsave || REG(p[2]) < 3 || REG(p[2]) > 5);
	default:
		return (true);
	}
}

/* 66, 67, F0, F2, F3, segments, REX. */
static bool
prefix(uint8_t b)
{
	return ((b & 0xf0) == 0x40 || (b & 0xe7) == 0x26 || b == 0x64 ||
	    b == 0x65 || b == 0x66 || b == 0x67 || b == 0xf0 || b == 0xf2 ||
	    b == 0xf3);
}

/*
 * Where the instruction begins whose opcode is at code[at]; -1: that is inside
 * of another one. Of the sweeps that arrive most have to agree: what is before
 * an opcode may look like a prefix and be the end of another instruction.
 */
static ptrdiff_t
begins(const uint8_t *code, size_t len, size_t at,
    const struct decode_mode *mode)
{
	const size_t first = at > SCAN_BEFORE ? at - SCAN_BEFORE : 0;
	uint8_t sweep[SCAN_BEFORE + 1] = { 0 };	/* that was here, from 1 */
	ptrdiff_t to[SWEEPS + 1], best = -1;
	unsigned n, k, votes, most = 0;
	struct insn i;
	size_t s, p;

	for (n = 1; n <= SWEEPS && first + n - 1 <= at; n++) {
		to[n] = -1;
		for (s = first + n - 1; s <= at; s += i.i_len) {
			if ((k = sweep[s - first]) != 0) {
				to[n] = to[k];
				break;
			}
			sweep[s - first] = (uint8_t)n;
			for (p = s; p < at && prefix(code[p]); p++)
				;
			if (p == at) {
				to[n] = (ptrdiff_t)s;
				break;
			}
			if (insn_decode(code + s, (unsigned)(len - s < 15 ?
			    len - s : 15), mode, &i) != DECODE_OK)
				break;
		}
		for (k = 1, votes = 0; k <= n; k++)
			votes += to[k] == to[n];
		if (to[n] != -1 && votes > most) {
			most = votes;
			best = to[n];
		}
	}
	return (best);
}

/* INT 80h. */
static bool
int80(const uint8_t *p, size_t known)
{
	return (known < 2 || p[1] == 0x80);
}

unsigned
scan_harmful(const uint8_t *code, size_t len, size_t from, size_t to,
    bool xsave, const struct decode_mode *mode, uint16_t *where, unsigned max)
{
	unsigned found = 0;
	ptrdiff_t start;
	size_t at;

	for (at = from; at < to; at++) {
		if (code[at] != 0x0f && code[at] != 0xcd)
			continue;
		if (code[at] == 0x0f ? harmless(code + at, len - at, xsave) :
		    !int80(code + at, len - at))
			continue;
		if ((start = begins(code, len, at, mode)) == -1)
			continue;
		/* a breakpoint is where the instruction begins, if in here */
		if (found == max || (size_t)start < from)
			return (max + 1);
		where[found++] = (uint16_t)((size_t)start - from);
	}
	return (found);
}
