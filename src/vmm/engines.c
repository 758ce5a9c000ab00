/*
 * The CPU engines that there are, in the order "auto" tries them. The table is
 * alone in this file so that a test can put its own in its place.
 */
#include "vmm/monitor.h"

const struct engine_row engine_table[] = {
	{ &engine_kvm, 1 },
	{ &engine_soft, 1 },
	{ NULL, 0 }
};
