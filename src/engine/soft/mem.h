/*
 * Guest memory as instructions see it: segment:offset and linear accesses with
 * all checks of the current mode. Every function either succeeds or does not
 * return (cpu.h: cpu_fault, cpu_page_fault, cpu_leave).
 *
 * 1. Values are little-endian integers of size 1, 2, 4 or 8; other sizes go
 *    through mem_read_buf/mem_write_buf.
 * 2. A write that crosses a page checks both pages before it writes either.
 * 3. Memory outside all ranges is MMIO: the monitor answers at once or the
 *    instruction leaves run() and starts anew when it is answered; so an
 *    instruction reads all it needs before it changes state (cpu.h, 2).
 * 4. The host's own protection may refuse an access at any time: that leaves
 *    run() with ENGINE_EXIT_PROTECT (base/hostfault.h).
 */
#ifndef SOFT_MEM_H
#define SOFT_MEM_H

#include "engine/soft/cpu.h"

/* The offset of i's memory operand, truncated to the address size. */
uint64_t	mem_ea(struct cpu *, const struct insn *);
/*
 * Linear address of [seg:off, +size) after the segment checks for the access
 * (ENGINE_READ/WRITE, both for read-modify-write; EXEC not here): limit, type,
 * null, canonical. Raises #GP(0) or #SS(0). Wraps at 4 GiB outside 64-bit
 * mode. Alignment checking (#AC) is done by the access itself.
 */
uint64_t	mem_linear(struct cpu *, unsigned seg, uint64_t off,
		    unsigned size, int access);

/* By linear address, at the current privilege (CPL 3 = user). */
uint64_t	mem_read(struct cpu *, uint64_t linear, unsigned size);
void		mem_write(struct cpu *, uint64_t linear, unsigned size, uint64_t);
void		mem_read_buf(struct cpu *, uint64_t linear, void *, unsigned len);
void		mem_write_buf(struct cpu *, uint64_t linear, const void *,
		    unsigned len);
/* All checks of a write (translation, rights, A/D bits), no write. */
void		mem_check_write(struct cpu *, uint64_t linear, unsigned len);
void		mem_check_read(struct cpu *, uint64_t linear, unsigned len);

/* As supervisor whatever the CPL: descriptor tables, TSS, IDT, stacks being
 * switched to (SDM vol. 3A 4.6.1 "implicit supervisor-mode accesses"). */
uint64_t	mem_sys_read(struct cpu *, uint64_t linear, unsigned size);
void		mem_sys_write(struct cpu *, uint64_t linear, unsigned size,
		    uint64_t);
/* Locked OR of bits into a descriptor's byte (accessed, busy), as supervisor. */
void		mem_sys_or8(struct cpu *, uint64_t linear, uint8_t bits);

/*
 * Read-modify-write. Begin gives a host pointer to size bytes when the operand
 * lies in RAM, inside one page, writable, not cached code: operate on it in
 * place (atomically if the instruction is locked), then mem_rmw_end(). When it
 * gives NULL, the value has been read to *value under the engine's split lock
 * (if the instruction is locked) and every check of the write has passed:
 * compute, then mem_rmw_store(), which writes it back and releases the lock.
 */
void	       *mem_rmw_begin(struct cpu *, uint64_t linear, unsigned size,
		    uint64_t *value);
void		mem_rmw_store(struct cpu *, uint64_t linear, unsigned size,
		    uint64_t value);

/* Host pointer for [linear, linear+len) inside one page of RAM for reading or
 * writing (access ENGINE_READ/WRITE) after all checks, or NULL when it is MMIO,
 * crosses a page, or is cached code being written: then use mem_*_buf. Valid
 * until the instruction ends. Host protection faults inside it are caught. */
void	       *mem_host(struct cpu *, uint64_t linear, unsigned len, int access);

/* Convenience: operand of i (INSN_MEM) with size bytes. */
static inline uint64_t
mem_operand(struct cpu *c, const struct insn *i, unsigned size, int access)
{
	return (mem_linear(c, i->i_seg, mem_ea(c, i), size, access));
}

#endif
