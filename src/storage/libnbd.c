/*
 * Loading libnbd; see libnbd.h. Any thread.
 */
#include "storage/libnbd.h"

#include <dlfcn.h>
#include <string.h>

#define LIBRARY	"libnbd.so.0"

int
libnbd_load(struct libnbd *lib, struct err *err)
{
	void *handle, *function;

	/* never unloaded: it may have threads and handlers of its own */
	if ((handle = dlopen(LIBRARY, RTLD_NOW | RTLD_LOCAL)) == NULL)
		return (err_set(err, "disks on a server need " LIBRARY
		    " (Debian's package libnbd0): %s", dlerror()));
#define X(f)								\
	if ((function = dlsym(handle, #f)) == NULL)			\
		return (err_set(err, LIBRARY " has no " #f));		\
	memcpy(&lib->f, &function, sizeof(lib->f));
	LIBNBD_CALLS(X)
#undef X
	return (0);
}
