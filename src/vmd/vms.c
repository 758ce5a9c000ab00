/*
 * The VMs that vmd knows; see vms.h.
 *
 * The daemon's thread.
 */
#include "vmd/vms.h"

#include <assert.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* A number that was given. */
struct vms_id {
	char		 vi_name[CONFIG_NAME_MAX];
	uid_t		 vi_uid;
	unsigned	 vi_id;
	struct vms_id	*vi_next;
};

static const char *const state_names[] = {
	[VM_STOPPED] = "stopped",
	[VM_WAITING] = "waiting",
	[VM_STARTING] = "starting",
	[VM_RUNNING] = "running",
	[VM_PAUSED] = "paused",
	[VM_STOPPING] = "stopping"
};

void
vms_init(struct vms *vs)
{
	memset(vs, 0, sizeof(*vs));
}

void
vms_free(struct vms *vs)
{
	struct vms_id *vi;

	while (vs->vs_first != NULL)
		vms_remove(vs, vs->vs_first);
	while ((vi = vs->vs_ids) != NULL) {
		vs->vs_ids = vi->vi_next;
		free(vi);
	}
}

/* The number of a name and user, a new one or this one; 0 and errno. */
static unsigned
id_claim(struct vms *vs, const char *name, uid_t uid, unsigned id)
{
	struct vms_id *vi;

	for (vi = vs->vs_ids; vi != NULL; vi = vi->vi_next)
		if (vi->vi_uid == uid && strcmp(vi->vi_name, name) == 0) {
			if (id != 0)
				vi->vi_id = id;
			return (vi->vi_id);
		}
	if (id == 0 && vs->vs_last == UINT32_MAX) {
		errno = EEXIST;
		return (0);
	}
	if ((vi = calloc(1, sizeof(*vi))) == NULL)
		return (0);
	snprintf(vi->vi_name, sizeof(vi->vi_name), "%s", name);
	vi->vi_uid = uid;
	vi->vi_id = id != 0 ? id : vs->vs_last + 1;
	if (vi->vi_id > vs->vs_last)
		vs->vs_last = vi->vi_id;
	vi->vi_next = vs->vs_ids;
	vs->vs_ids = vi;
	return (vi->vi_id);
}

struct vm *
vms_add(struct vms *vs, const char *name, uid_t uid, unsigned id,
    struct config_vm *config)
{
	struct vm *v, **p;

	if (vms_by_name(vs, name) != NULL ||
	    (id != 0 && vms_by_id(vs, id) != NULL)) {
		errno = EEXIST;
		return (NULL);
	}
	if ((v = calloc(1, sizeof(*v))) == NULL)
		return (NULL);
	if ((v->v_id = id_claim(vs, name, uid, id)) == 0) {
		free(v);
		return (NULL);
	}
	snprintf(v->v_name, sizeof(v->v_name), "%s", name);
	v->v_uid = uid;
	v->v_config = config;
	v->v_calls_tail = &v->v_calls;
	for (p = &vs->vs_first; *p != NULL; p = &(*p)->v_next)
		continue;
	*p = v;
	return (v);
}

void
vms_remove(struct vms *vs, struct vm *v)
{
	vms_take(vs, v);
	vms_end(v);
}

void
vms_take(struct vms *vs, struct vm *v)
{
	struct vm **p;

	for (p = &vs->vs_first; *p != v; p = &(*p)->v_next)
		assert(*p != NULL);
	*p = v->v_next;
}

void
vms_end(struct vm *v)
{
	assert(v->v_peer == NULL && v->v_calls == NULL &&
	    v->v_waiters == NULL);
	config_vm_free(v->v_config);
	config_vm_free(v->v_running);
	free(v);
}

struct vm *
vms_by_name(const struct vms *vs, const char *name)
{
	struct vm *v;

	for (v = vs->vs_first; v != NULL; v = v->v_next)
		if (strcmp(v->v_name, name) == 0)
			return (v);
	return (NULL);
}

struct vm *
vms_by_id(const struct vms *vs, unsigned id)
{
	struct vm *v;

	for (v = vs->vs_first; v != NULL; v = v->v_next)
		if (v->v_id == id)
			return (v);
	return (NULL);
}

struct vm *
vms_find(const struct vms *vs, const char *word)
{
	unsigned long id;
	char *end;

	/* no name consists of digits alone */
	if (word[0] != '\0' && word[strspn(word, "0123456789")] == '\0') {
		errno = 0;
		id = strtoul(word, &end, 10);
		if (errno != 0 || id > UINT32_MAX)
			return (NULL);
		return (vms_by_id(vs, (unsigned)id));
	}
	return (vms_by_name(vs, word));
}

bool
vm_is_active(const struct vm *v)
{
	return (v->v_state != VM_STOPPED && v->v_state != VM_WAITING);
}

const char *
vm_state_name(enum vm_state state)
{
	return (state_names[state]);
}

const struct config_vm *
vm_config_now(const struct vm *v)
{
	return (v->v_running != NULL ? v->v_running : v->v_config);
}
