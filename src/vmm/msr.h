/*
 * The model-specific registers that belong to nobody else: not the engine's,
 * not an APIC's, not the clock's. They hold no state: a constant each, and
 * writes that go nowhere or are refused. Any thread.
 */
#ifndef VMM_MSR_H
#define VMM_MSR_H

#include <stdint.h>

/* 1: done, 0: not here, -1: #GP. */
int	misc_rdmsr(uint32_t msr, uint64_t tsc_khz, uint64_t *value);
int	misc_wrmsr(uint32_t msr, uint64_t value);

#endif
