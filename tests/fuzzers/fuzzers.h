/*
 * What is fed with arbitrary bytes: a function each, which libFuzzer calls
 * (make fuzz-NAME) and which the corpus is replayed through (replay_test.c).
 * It asserts what must hold of whatever was accepted.
 */
#ifndef FUZZERS_H
#define FUZZERS_H

#include <stddef.h>
#include <stdint.h>

void	fuzz_conf(const uint8_t *, size_t);	/* vm.conf(5) */
void	fuzz_message(const uint8_t *, size_t);	/* control messages */
void	fuzz_qcow2(const uint8_t *, size_t);	/* images */

/* A file in memory of these bytes; never -1. */
int	fuzz_file(const uint8_t *, size_t);
/* Stops with a core if something is not so, with and without NDEBUG. */
#define MUST(x)		((x) ? (void)0 : fuzz_failed(#x, __FILE__, __LINE__))
void	fuzz_failed(const char *, const char *file, int line)
	    __attribute__((noreturn));

/* A small image of size bytes for the guest; returns its length. */
#define QCOW2_SEED_MAX	(64u << 10)
size_t	fuzz_qcow2_seed(uint8_t *, unsigned version, unsigned cluster_bits,
	    uint64_t size);

#endif
