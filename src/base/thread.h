/*
 * Threads.
 */
#ifndef BASE_THREAD_H
#define BASE_THREAD_H

#include <stddef.h>

/* No frame of ours has more than some 20 KiB. Less than a huge page. */
#define THREAD_STACK	((size_t)1 << 20)

/*
 * The process's threads have stacks of THREAD_STACK from now on, those of
 * libraries as well, if they do not choose. For a program's main(), before
 * there are threads.
 */
void	thread_small_stacks(void);

#endif /* BASE_THREAD_H */
