/*
 * How a program of ours begins.
 */
#ifndef BASE_PROGRAM_H
#define BASE_PROGRAM_H

#include <stddef.h>

/* Of a thread. No frame of ours has more than some 20 KiB. Less than a huge
 * page. */
#define PROGRAM_STACK	((size_t)1 << 20)

/*
 * For main(), before it opens a file or makes a thread. Descriptors 0 to 2 are
 * open from here on, so that no file that is opened later is taken for one of
 * them. Threads have stacks of PROGRAM_STACK, those of libraries as well, if
 * they do not choose.
 */
void	program_begin(void);

#endif
