/*
 * New images: empty, upon a base, or with the content of another one.
 */
#ifndef STORAGE_CREATE_H
#define STORAGE_CREATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "storage/image.h"

struct image_create {
	const char	*ic_path;	/* without a format in front */
	enum image_format ic_format;	/* RAW or QCOW2 */
	uint64_t	 ic_size;	/* bytes; 0: the base's or the input's,
					   in whole MiB */
	const char	*ic_base;	/* path, or NULL; QCOW2 only */
	const char	*ic_input;	/* path of what is copied, or NULL */
	/* Told now and then; false: stop. May be NULL. */
	bool		(*ic_progress)(void *, uint64_t done, uint64_t all);
	void		*ic_arg;
	uint64_t	 ic_made;	/* the size that it was given */
};

/*
 * Makes an image file that did not exist; it has its name when it is whole, so
 * that nothing is left of one that was not finished. -1 with a line in err;
 * errno is EEXIST if it was there.
 */
int	image_create(struct image_create *, struct err *);
/* By the prefix of a path, which is skipped, else its extension, else RAW. */
enum image_format image_format_of_name(const char **path);
const char *image_format_name(enum image_format);

/* qcow2_create.c: an empty image into an empty file. base: "" for none. */
int	qcow2_create(int fd, const char *path, uint64_t size,
	    const char *base, const char *base_format, struct err *);

#endif
