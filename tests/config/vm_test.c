/*
 * A VM's configuration: as JSON and back, copied, inherited, completed.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "config/config.h"

static const char full[] = "{\"name\":\"web-1\",\"parent\":\"t\","
    "\"enable\":false,\"memory\":1073741824,\"cpus\":2,\"cdrom\":\"/a.iso\","
    "\"boot\":\"/vmlinuz\",\"initrd\":\"/initrd\",\"append\":\"a=\\\"b\\\"\","
    "\"boot_device\":\"cdrom\",\"ninterfaces\":3,\"engine\":\"soft\","
    "\"allow\":[\"boot\",\"disk\",\"instance\"],"
    "\"disks\":[{\"path\":\"/d0\",\"format\":\"qcow2\"},{\"path\":\"/d1\"}],"
    "\"interfaces\":[{\"kind\":\"switch\",\"switch\":\"lan\",\"locked\":true,"
    "\"up\":false,\"mac\":\"fe:e1:bb:d1:00:7f\"},{\"kind\":\"user\","
    "\"forwards\":[{\"host\":\"127.0.0.1\",\"host_port\":8080,"
    "\"guest_port\":80,\"protocol\":\"tcp\"},{\"host_port\":53,"
    "\"guest_port\":53,\"protocol\":\"udp\"}]},{\"tap\":\"tap3\","
    "\"bridge\":\"br0\",\"group\":\"g\",\"rdomain\":7,"
    "\"mtu\":9000}],"
    "\"owner\":{\"user\":1000,\"group\":0},\"allow_owner\":{\"group\":50}}";

static struct config_vm *
parse(const char *json, struct err *err)
{
	struct config_vm *vm = NULL;
	cJSON *o = cJSON_Parse(json);

	assert_non_null(o);
	errno = 0;
	if (config_vm_from_json(&vm, o, err) == -1)
		assert_null(vm);
	cJSON_Delete(o);
	return (vm);
}

static char *
print(const struct config_vm *vm)
{
	cJSON *o = config_vm_json(vm);
	char *text;

	assert_non_null(o);
	text = cJSON_PrintUnformatted(o);
	cJSON_Delete(o);
	assert_non_null(text);
	return (text);
}

static void
there_and_back(void **state)
{
	struct config_vm *vm, *copy;
	struct err err;
	char *text;

	(void)state;
	vm = parse(full, &err);
	assert_non_null(vm);
	assert_int_equal(vm->cv_nic[0].cn_mac[5], 0x7f);
	assert_int_equal(vm->cv_nic[1].cn_forward[1].nf_udp, true);
	assert_int_equal(vm->cv_allow, CONFIG_ALLOW_BOOT | CONFIG_ALLOW_DISK |
	    CONFIG_ALLOW_INSTANCE);
	text = print(vm);
	assert_string_equal(text, full);
	free(text);
	copy = config_vm_copy(vm);
	config_vm_free(vm);
	text = print(copy);
	assert_string_equal(text, full);
	free(text);
	config_vm_free(copy);
}

/* Each is refused with a line that names the member. */
static void
refused(void **state)
{
	static const char *const bad[][2] = {
		{ "[]", "list" },
		{ "{}", "empty" },
		{ "{\"name\":5}", "name" },
		{ "{\"name\":\"-x\"}", "-x" },
		{ "{\"name\":\"12\"}", "12" },
		{ "{\"name\":\"a b\"}", "a b" },
		{ "{\"name\":\"a\",\"colour\":1}", "colour" },
		{ "{\"name\":\"a\",\"memory\":-1}", "memory" },
		{ "{\"name\":\"a\",\"memory\":1.5}", "memory" },
		{ "{\"name\":\"a\",\"memory\":1e300}", "memory" },
		{ "{\"name\":\"a\",\"memory\":\"1\"}", "memory" },
		{ "{\"name\":\"a\",\"cpus\":513}", "cpus" },
		{ "{\"name\":\"a\",\"enable\":1}", "enable" },
		{ "{\"name\":\"a\",\"boot\":\"x\",\"boot\":\"y\"}", "boot" },
		{ "{\"name\":\"a\",\"boot\":\"x\\ny\"}", "boot" },
		{ "{\"name\":\"a\",\"boot_device\":\"tape\"}", "boot_device" },
		{ "{\"name\":\"a\",\"boot_device\":\"\"}", "boot_device" },
		{ "{\"name\":\"a\",\"allow\":\"boot\"}", "allow" },
		{ "{\"name\":\"a\",\"allow\":[\"sing\"]}", "list" },
		{ "{\"name\":\"a\",\"disks\":{}}", "disks" },
		{ "{\"name\":\"a\",\"disks\":[{}]}", "path" },
		{ "{\"name\":\"a\",\"disks\":[7]}", "object" },
		{ "{\"name\":\"a\",\"disks\":[{\"path\":\"/x\",\"path\":"
		    "\"/y\"}]}", "path" },
		{ "{\"name\":\"a\",\"disks\":[{\"path\":\"1\"},{\"path\":\"2\"}"
		    ",{\"path\":\"3\"},{\"path\":\"4\"},{\"path\":\"5\"}]}",
		    "disks" },
		{ "{\"name\":\"a\",\"interfaces\":[{\"mac\":\"1:2:3:4:5:6\"}]}",
		    "mac" },
		{ "{\"name\":\"a\",\"interfaces\":[{\"mac\":"
		    "\"fe:e1:bb:d1:00:7:\"}]}", "mac" },
		{ "{\"name\":\"a\",\"interfaces\":[{\"mac\":"
		    "\"01:e1:bb:d1:00:7f\"}]}", "mac" },
		{ "{\"name\":\"a\",\"interfaces\":[{\"forwards\":[{\"protocol\""
		    ":\"tcp\"}]}]}", "ports" },
		{ "{\"name\":\"a\",\"interfaces\":[{\"forwards\":[{\"host_port"
		    "\":65536,\"guest_port\":1}]}]}", "host_port" },
		{ "{\"name\":\"a\",\"owner\":{\"user\":4294967295}}", "user" },
		{ "{\"name\":\"a\",\"owner\":{\"rank\":1}}", "rank" },
	};
	struct err err;
	size_t n;

	(void)state;
	for (n = 0; n < sizeof(bad) / sizeof(bad[0]); n++) {
		err.e_text[0] = '\0';
		if (parse(bad[n][0], &err) != NULL)
			fail_msg("taken: %s", bad[n][0]);
		assert_int_equal(errno, EINVAL);
		if (strstr(err.e_text, bad[n][1]) == NULL)
			fail_msg("%s: %s", bad[n][0], err.e_text);
	}
}

/* Texts that are cut or changed anywhere: taken or not, nothing else. */
static void
hostile(void **state)
{
	char text[sizeof(full)];
	struct config_vm *vm;
	struct err err;
	unsigned taken = 0, n;
	cJSON *o;

	(void)state;
	srandom(1);
	for (n = 0; n < 20000; n++) {
		memcpy(text, full, sizeof(full));
		text[(size_t)random() % (sizeof(full) - 1)] =
		    "\"{}[]:,0x9e\\ "[random() % 13];
		if (n % 4 == 0)
			text[(size_t)random() % (sizeof(full) - 1)] = '\0';
		if ((o = cJSON_Parse(text)) == NULL)
			continue;
		if (config_vm_from_json(&vm, o, &err) == 0) {
			config_vm_free(vm);
			taken++;
		}
		cJSON_Delete(o);
	}
	assert_true(taken > 0);
}

static void
instances(void **state)
{
	static const gid_t groups[] = { 7, 50 };
	struct config_vm *parent, *vm;
	struct err err;

	(void)state;
	parent = parse(full, &err);
	vm = parse("{\"name\":\"i\",\"disks\":[{\"path\":\"/mine\"}]}", &err);
	/* by the group that may: disks, not memory */
	assert_int_equal(config_vm_inherit(vm, parent, 1001, groups, 2, &err),
	    0);
	assert_int_equal(vm->cv_memory, 1073741824);
	assert_int_equal(vm->cv_ndisks, 1);
	assert_string_equal(vm->cv_boot, "/vmlinuz");
	assert_string_equal(vm->cv_parent, "web-1");
	assert_int_equal(vm->cv_nnics, 3);
	assert_false(vm->cv_nic[0].cn_mac_set);
	assert_null(vm->cv_nic[2].cn_tap);
	assert_string_equal(vm->cv_nic[2].cn_group, "g");
	assert_int_equal(vm->cv_nic[1].cn_nforwards, 0);
	config_vm_free(vm);

	vm = parse("{\"name\":\"i\",\"memory\":1048576}", &err);
	assert_int_equal(config_vm_inherit(vm, parent, 1001, groups, 2, &err),
	    -1);
	assert_int_equal(errno, EPERM);
	assert_non_null(strstr(err.e_text, "memory"));
	/* the owner and root may */
	assert_int_equal(config_vm_inherit(vm, parent, 1000, NULL, 0, &err), 0);
	assert_int_equal(vm->cv_memory, 1048576);
	config_vm_free(vm);

	vm = parse("{\"name\":\"i\"}", &err);
	assert_int_equal(config_vm_inherit(vm, parent, 1001, groups, 1, &err),
	    -1);
	assert_int_equal(errno, ENAMETOOLONG);
	config_vm_free(vm);
	/* none at all is not the same as nothing said */
	vm = parse("{\"name\":\"i\",\"no_interfaces\":true}", &err);
	assert_int_equal(config_vm_inherit(vm, parent, 1001, groups, 2, &err),
	    -1);
	assert_non_null(strstr(err.e_text, "interface"));
	assert_int_equal(config_vm_inherit(vm, parent, 1000, NULL, 0, &err), 0);
	assert_int_equal(vm->cv_memory, 1073741824);
	assert_int_equal(vm->cv_nnics, 0);
	assert_int_equal(vm->cv_interfaces, 0);
	config_vm_free(vm);
	vm = parse("{\"name\":\"i\",\"disks\":[{\"path\":\"/d1\"}]}", &err);
	assert_int_equal(config_vm_inherit(vm, parent, 0, NULL, 0, &err), -1);
	assert_int_equal(errno, EBUSY);
	config_vm_free(vm);
	config_vm_free(parent);
}

static void
completed(void **state)
{
	struct config_vm *vm;
	struct err err;

	(void)state;
	vm = parse("{\"name\":\"a\",\"ninterfaces\":4,\"interfaces\":"
	    "[{\"switch\":\"s\"},{\"tap\":\"t\"},{\"kind\":\"local\"}]}", &err);
	assert_int_equal(config_vm_fill(vm, &err), 0);
	assert_int_equal(vm->cv_memory, 512 << 20);
	assert_int_equal(vm->cv_cpus, 1);
	assert_int_equal(vm->cv_nnics, 4);
	assert_int_equal(vm->cv_nic[0].cn_kind, CONFIG_NIC_SWITCH);
	assert_int_equal(vm->cv_nic[1].cn_kind, CONFIG_NIC_TAP);
	assert_int_equal(vm->cv_nic[2].cn_kind, CONFIG_NIC_LOCAL);
	assert_int_equal(vm->cv_nic[3].cn_kind, CONFIG_NIC_USER);
	assert_string_equal(vm->cv_engine, "auto");
	config_vm_free(vm);
}

/* What cannot be run is not completed. */
static void
not_completed(void **state)
{
	static const struct {
		const char *text, *why;
	} cases[] = {
		{ "{\"name\":\"a\",\"memory\":1048575}", "from 1M to 32G" },
		{ "{\"name\":\"a\",\"memory\":34359738369}", "from 1M" },
		{ "{\"name\":\"a\",\"cpus\":65}", "more than 64 CPUs" },
		{ "{\"name\":\"a\",\"initrd\":\"/i\"}", "without a kernel" },
		{ "{\"name\":\"a\",\"disks\":[{\"path\":\"/d\"},"
		    "{\"path\":\"/d\"}]}", "/d is there twice" },
	};
	struct config_vm *vm;
	struct err err;
	size_t i;

	(void)state;
	for (i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		vm = parse(cases[i].text, &err);
		assert_non_null(vm);
		assert_int_equal(config_vm_fill(vm, &err), -1);
		assert_int_equal(errno, EINVAL);
		if (strstr(err.e_text, cases[i].why) == NULL)
			fail_msg("%s: %s", cases[i].text, err.e_text);
		config_vm_free(vm);
	}
	/* a member's name gets into messages, its control characters do not */
	assert_null(parse("{\"name\":\"a\",\"x\\n\\u001b[1my\":1}", &err));
	assert_string_equal(err.e_text,
	    "the member \"x??[1my\" is not known");
	/* nothing at all, from a message without it */
	assert_int_equal(config_vm_from_json(&vm, NULL, &err), -1);
}

/* Switches that are bridges of the host make taps of interfaces; others, and
 * switches that nobody knows, leave them alone. */
static void
bridges(void **state)
{
	struct config_switch house = { .cs_name = (char *)"house",
		.cs_interface = (char *)"br0", .cs_group = (char *)"g",
		.cs_locked = true };
	struct config_switch off = { .cs_name = (char *)"off",
		.cs_interface = (char *)"br1", .cs_up = CONFIG_NO,
		.cs_enable = CONFIG_NO };
	struct config_switch ours = { .cs_name = (char *)"ours" };
	struct config_switch *list[] = { &house, &off, &ours };
	struct config cf = { .cf_switch = list, .cf_nswitches = 3 };
	const struct config_nic *cn;
	struct config_vm *vm;
	struct err err;

	(void)state;
	vm = parse("{\"name\":\"a\",\"interfaces\":["
	    "{\"switch\":\"house\",\"tap\":\"tap3\"},"
	    "{\"switch\":\"off\",\"group\":\"mine\"},"
	    "{\"switch\":\"ours\"},{\"switch\":\"x\"}]}", &err);
	assert_non_null(vm);
	assert_int_equal(config_vm_fill(vm, &err), 0);
	assert_int_equal(config_bridges(&cf, vm), 0);
	cn = vm->cv_nic;
	assert_int_equal(cn[0].cn_kind, CONFIG_NIC_TAP);
	assert_string_equal(cn[0].cn_bridge, "br0");
	assert_string_equal(cn[0].cn_tap, "tap3");
	assert_string_equal(cn[0].cn_group, "g");
	assert_string_equal(cn[0].cn_switch, "house");
	assert_true(cn[0].cn_locked);
	assert_int_equal(cn[0].cn_up, CONFIG_YES);
	/* a tap that joins nothing */
	assert_int_equal(cn[1].cn_kind, CONFIG_NIC_TAP);
	assert_null(cn[1].cn_bridge);
	assert_string_equal(cn[1].cn_group, "mine");
	assert_false(cn[1].cn_locked);
	assert_int_equal(cn[1].cn_up, CONFIG_NO);
	assert_int_equal(cn[2].cn_kind, CONFIG_NIC_SWITCH);
	assert_int_equal(cn[3].cn_kind, CONFIG_NIC_SWITCH);
	config_vm_free(vm);
}

int
main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(there_and_back),
		cmocka_unit_test(refused),
		cmocka_unit_test(hostile),
		cmocka_unit_test(instances),
		cmocka_unit_test(completed),
		cmocka_unit_test(not_completed),
		cmocka_unit_test(bridges)
	};

	return (cmocka_run_group_tests(tests, NULL, NULL));
}
