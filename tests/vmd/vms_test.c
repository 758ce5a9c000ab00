/*
 * The table of VMs: numbers that stay, names that are free or not, words that
 * users write.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>

#include "vmd/vmprocess.h"
#include "vmd/vms.h"

static int
setup(void **state)
{
	static struct vms vs;

	vms_init(&vs);
	*state = &vs;
	return (0);
}

static int
teardown(void **state)
{
	vms_free(*state);
	return (0);
}

static void
test_numbers(void **state)
{
	struct vms *vs = *state;
	struct vm *a, *b, *c;

	a = vms_add(vs, "a", 0, 0, NULL);
	b = vms_add(vs, "b", 0, 0, NULL);
	assert_int_equal(a->v_id, 1);
	assert_int_equal(b->v_id, 2);
	assert_null(vms_add(vs, "a", 1000, 0, NULL));
	assert_int_equal(errno, EEXIST);

	/* who comes back has its number, who else has the name another */
	vms_remove(vs, a);
	assert_null(vms_by_id(vs, 1));
	a = vms_add(vs, "a", 1000, 0, NULL);
	assert_int_equal(a->v_id, 3);
	vms_remove(vs, a);
	a = vms_add(vs, "a", 0, 0, NULL);
	assert_int_equal(a->v_id, 1);
	c = vms_add(vs, "c", 0, 0, NULL);
	assert_int_equal(c->v_id, 4);
}

/* VMs that are found have numbers already. */
static void
test_found(void **state)
{
	struct vms *vs = *state;
	struct vm *v;

	v = vms_add(vs, "found", 7, 9, NULL);
	assert_int_equal(v->v_id, 9);
	assert_null(vms_add(vs, "other", 7, 9, NULL));
	assert_int_equal(errno, EEXIST);
	assert_int_equal(vms_add(vs, "new", 7, 0, NULL)->v_id, 10);
	vms_remove(vs, v);
	assert_int_equal(vms_add(vs, "found", 7, 0, NULL)->v_id, 9);
}

static void
test_words(void **state)
{
	struct vms *vs = *state;
	struct vm *a = vms_add(vs, "a1", 0, 0, NULL), *v;
	char name[16];
	unsigned i;

	assert_ptr_equal(vms_find(vs, "a1"), a);
	assert_ptr_equal(vms_find(vs, "1"), a);
	assert_ptr_equal(vms_find(vs, "001"), a);
	assert_null(vms_find(vs, ""));
	assert_null(vms_find(vs, "a"));
	assert_null(vms_find(vs, "2"));
	assert_null(vms_find(vs, "-1"));
	assert_null(vms_find(vs, "4294967297"));
	assert_null(vms_find(vs, "99999999999999999999999"));
	for (i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "vm%u", i);
		assert_non_null(vms_add(vs, name, 0, 0, NULL));
	}
	/* in the order in which they came */
	for (i = 0, v = a->v_next; v != NULL; v = v->v_next, i++) {
		snprintf(name, sizeof(name), "vm%u", i);
		assert_string_equal(v->v_name, name);
		assert_int_equal(v->v_id, i + 2);
	}
	assert_int_equal(i, 1000);
}

static void
test_states(void **state)
{
	struct vms *vs = *state;
	struct vm *v = vms_add(vs, "a", 0, 0, NULL);
	enum vm_state s;

	for (s = VM_STOPPED; s <= VM_STOPPING; s++) {
		v->v_state = s;
		assert_int_equal(vm_is_active(v), s >= VM_STARTING);
		assert_non_null(vm_state_name(s));
	}
	assert_null(vm_config_now(v));
}

/* Addresses of local interfaces follow from the number, within the prefix. */
static void
test_addresses(void **state)
{
	struct vmplace vl = { .vl_prefix = 0x64400000, .vl_prefix_bits = 10 };
	uint32_t host = 0, guest = 0;

	(void)state;
	vl.vl_id = 1;
	assert_int_equal(vmconfig_local(&vl, 0, &host, &guest), 0);
	assert_int_equal(host, 0x64400102);
	assert_int_equal(guest, 0x64400103);
	vl.vl_id = 300;		/* beyond a byte */
	assert_int_equal(vmconfig_local(&vl, 3, &host, &guest), 0);
	assert_int_equal(host, 0x64412c08);
	vl.vl_id = 16383;
	assert_int_equal(vmconfig_local(&vl, 3, &host, &guest), 0);
	vl.vl_id = 16384;
	assert_int_equal(vmconfig_local(&vl, 0, &host, &guest), -1);
	vl.vl_id = UINT32_MAX;
	assert_int_equal(vmconfig_local(&vl, 0, &host, &guest), -1);
	vl = (struct vmplace){ .vl_id = 1 };
	assert_int_equal(vmconfig_local(&vl, 0, &host, &guest), -1);
}

int
main(void)
{
#define TABLE(test)	cmocka_unit_test_setup_teardown(test, setup, teardown)
	const struct CMUnitTest tests[] = {
		TABLE(test_numbers),
		TABLE(test_found),
		TABLE(test_words),
		TABLE(test_states),
		cmocka_unit_test(test_addresses),
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
