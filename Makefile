# vmm: build, test, install. "make help" lists the targets.
#
# Adding a source file or a test means editing no list: every *.c of a folder
# belongs to that folder's library, every tests/**/*_test.c is a test program
# and every tests/*.t a test script. Objects go to $(B), nothing else does.

SHELL	:= /bin/bash
V	?= 0
Q	:= $(if $(filter 1,$(V)),,@)
say	= $(if $(Q),@echo '  $(1)	$(2)')
CC	?= cc
PREFIX	?= /usr/local
LIBDIR	?= $(PREFIX)/lib
MANDIR	?= $(PREFIX)/share/man
DOCDIR	?= $(PREFIX)/share/doc/vmm
COMPDIR	?= $(PREFIX)/share/bash-completion/completions
UNITDIR	?= $(PREFIX)/lib/systemd
VERSION	:= 0.1.0
SAN	?=
comma	:= ,

ifeq ($(SAN),)
B	:= build
else
B	:= build/san-$(subst $(comma),-,$(SAN))
endif

CSTD	:= -std=gnu17
WARN	:= -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Werror
OPT	?= -O2
CFLAGS	?= $(OPT) -g
ifneq ($(SAN),)
CFLAGS	+= -fsanitize=$(SAN) -fno-sanitize-recover=all -fno-omit-frame-pointer
LDFLAGS	+= -fsanitize=$(SAN)
endif
CPPFLAGS += -Iinclude -Isrc -D_GNU_SOURCE -DVMM_VERSION='"$(VERSION)"'
ALLCFLAGS = $(CSTD) $(WARN) -fPIC -fvisibility=hidden -pthread $(CPPFLAGS) \
    $(CFLAGS)
LDLIBS	:= -pthread -lm

# Not by pkg-config: slirp.pc wants glib's, which libslirp-dev does not bring.
HOSTLIBS := -Wl,--as-needed -lslirp -lcjson -lzstd -lz -lseccomp

# Which folders make what; a folder includes only from those before it.
CORE	:= src/base src/engine/soft src/engine/soft/jit \
    src/engine/soft/direct src/engine/kvm src/vmm
HOST	:= src/storage src/network src/machine src/config src/control
srcs	= $(foreach d,$(1),$(wildcard $(d)/*.c $(d)/*.S))
objs	= $(patsubst %,$(B)/obj/%.o,$(call srcs,$(1)))

CORE_OBJ  := $(call objs,$(CORE))
BASE_OBJ  := $(call objs,src/base)
HOST_OBJ  := $(call objs,$(HOST)) $(B)/obj/gen/conf.c.o
VMCTL_OBJ := $(call objs,src/vmctl)
VMD_OBJ	  := $(call objs,src/vmd)
PRE_OBJ	  := $(call objs,src/preload)
TEST_SRC  := $(wildcard tests/*/*_test.c tests/*_test.c)
TEST_BIN  := $(patsubst tests/%.c,$(B)/tests/%,$(TEST_SRC))
TEST_AUX  := $(call objs,$(wildcard tests/lib))
TEST_TAP  := $(sort $(wildcard tests/*.t))
# Sanitized programs are too big and too slow for the test bed.
KVM_TAP	  := $(if $(SAN),,$(sort $(wildcard tests/kvm/*.t)))
SLOW_TAP  := $(sort $(wildcard tests/slow/*.t))

.PHONY: all help run test test-kvm test-slow fuzz-insn lockstep bench guest deps check \
    fuzz-conf fuzz-message fuzz-qcow2 \
    install uninstall clean
all: $(B)/bin/vmctl $(B)/bin/vmd $(B)/lib/libvmm.a $(B)/lib/libvmm.so \
    $(B)/lib/libvmm-preload.so $(B)/lib/vmm.pc

help:
	@sed -n 's/^#: //p' Makefile

#: make             build into build/bin and build/lib (V=1: show commands)
#: make run         boot a Linux guest to a shell with disk and network
#: make test        build and run all tests (SAN=address,undefined works)
#: make test-kvm    the tests that need KVM, in an emulated machine that has it
#: make test-slow   the tests that take many minutes
#: make guest       fetch the test guest into build/guest
#: make deps        install what building, running and testing need (Debian)
#: make check       format, include directions, man pages, static analysis
#: make bench       measure it against the host and QEMU's TCG (BENCHFLAGS=--quick)
#: make fuzz-insn   compare instructions with the host CPU until interrupted
#: make fuzz-conf   vm.conf(5) by libFuzzer for FUZZ_SECONDS; also fuzz-message, fuzz-qcow2
#: make lockstep    boot a guest with every block compared with the interpreter
#: make install     into $(DESTDIR)$(PREFIX); make uninstall removes it
#: make clean       remove build/, the fetched guest included

# --- objects ---------------------------------------------------------------

$(B)/obj/%.c.o: %.c | deps-ok
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALLCFLAGS) -MMD -MP -c -o $@ $<

# Grammars are made into C in $(B)/gen.
$(B)/gen/conf.c: src/config/conf.y | deps-ok
	@mkdir -p $(@D)
	$(call say,BISON,$<)
	$(Q)bison -Wall -Wno-yacc -Werror -o $@ $<
$(B)/obj/gen/%.c.o: $(B)/gen/%.c | deps-ok
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALLCFLAGS) -MMD -MP -c -o $@ $<

# Translated code calls these without saving vector registers: they use none
# and call nothing else.
LIGHT	  := src/engine/soft/tlb.c src/engine/soft/jit/jtlb.c \
    src/engine/soft/jit/fill.c src/engine/soft/jit/find.c \
    src/engine/soft/jit/string.c src/engine/soft/jit/sys.c \
    src/engine/soft/jit/code.c src/engine/soft/mmu.c \
    src/engine/soft/block.c src/engine/soft/huge.c
LIGHT_OBJ := $(LIGHT:%=$(B)/obj/%.o)
# no loop may become a call of memset()
LIGHT_CFLAGS := -mgeneral-regs-only -fno-stack-protector \
    $(if $(findstring clang,$(shell $(CC) --version)),-fno-builtin,\
    -fno-tree-loop-distribute-patterns)
$(LIGHT_OBJ): private CFLAGS += $(LIGHT_CFLAGS)

$(B)/obj/%.S.o: %.S | deps-ok
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALLCFLAGS) -MMD -MP -c -o $@ $<

-include $(shell find $(B)/obj -name '*.d' 2>/dev/null)

.PHONY: deps-ok
deps-ok:
	@tools/deps --check build

# Internal archives, for our own programs and tests.
$(B)/obj/core.a: $(CORE_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@; $(AR) rcs $@ $^
$(B)/obj/host.a: $(HOST_OBJ)
	$(call say,AR,$@)
	$(Q)rm -f $@; $(AR) rcs $@ $^
$(B)/obj/vmd.a: $(filter-out %/main.c.o,$(VMD_OBJ))
	$(call say,AR,$@)
	$(Q)rm -f $@; $(AR) rcs $@ $^

# --- libvmm ------------------------------------------------------------------

# One object whose only global names are vmm_open, vmm_ioctl, vmm_close: a
# client's own log_warn() is not ours.
$(B)/lib/libvmm.a: $(CORE_OBJ)
	@mkdir -p $(@D)
	$(call say,AR,$@)
	$(Q)$(LD) -r -o $(B)/obj/libvmm.o $^
	$(Q)objcopy --localize-hidden $(B)/obj/libvmm.o
	$(Q)rm -f $@; $(AR) rcs $@ $(B)/obj/libvmm.o

$(B)/lib/libvmm.so: $(CORE_OBJ)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared -Wl,-soname,libvmm.so.0 -Wl,-z,defs $(LDFLAGS) -o $@ $^ \
	    $(LDLIBS)
	$(Q)ln -sf libvmm.so $(B)/lib/libvmm.so.0

$(B)/lib/libvmm-preload.so: $(CORE_OBJ) $(PRE_OBJ)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) -shared $(LDFLAGS) -o $@ $^ $(LDLIBS) -ldl

# Made anew each time: PREFIX may be another one.
$(B)/lib/vmm.pc: FORCE
	@mkdir -p $(@D)
	@printf '%s\n' 'prefix=$(PREFIX)' 'libdir=$(LIBDIR)' \
	    'includedir=$${prefix}/include' '' 'Name: vmm' \
	    'Description: the vmm(4) virtual machine monitor as a library' \
	    'Version: $(VERSION)' 'Libs: -L$${libdir} -lvmm' \
	    'Libs.private: -pthread -lm' 'Cflags: -I$${includedir}' >$@

.PHONY: FORCE
FORCE:

# --- programs ------------------------------------------------------------------

$(B)/bin/vmctl: $(VMCTL_OBJ) $(B)/obj/host.a $(B)/obj/core.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(HOSTLIBS) $(LDLIBS)

$(B)/bin/vmd: $(VMD_OBJ) $(B)/obj/host.a $(B)/obj/core.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(HOSTLIBS) $(LDLIBS)

# --- tests ---------------------------------------------------------------------

# A test program is NAME_test.c and what C files its folder has beside tests,
# or borrows from another.
test_borrows_jit := tests/insn/gen.c
test_aux = $(patsubst %,$(B)/obj/%.o,$(filter-out %_test.c,$(wildcard \
    tests/$(1)/*.c)) $(test_borrows_$(1)))
.SECONDEXPANSION:
$(B)/tests/%: $(B)/obj/tests/%.c.o $$(call test_aux,$$(*D)) $(TEST_AUX) \
    $(B)/obj/vmd.a $(B)/obj/host.a $(B)/obj/core.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) -o $@ $^ $(HOSTLIBS) $(LDLIBS) -lcmocka -lZydis \
	    -lutil

# These see every translation as it is made (tests/jit/verify.c), and so does
# a vmctl for a whole boot.
VERIFY	:= -Wl,--wrap=jit_publish,--wrap=jit_translate
$(B)/tests/jit/%: private LDFLAGS += $(VERIFY)
TEST_VMCTL := $(B)/tests/verify/vmctl
$(TEST_VMCTL): $(VMCTL_OBJ) $(B)/obj/tests/jit/verify.c.o \
    $(B)/obj/host.a $(B)/obj/core.a
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(LDFLAGS) $(VERIFY) -o $@ $^ $(HOSTLIBS) $(LDLIBS) -lZydis

include tests/guests/guests.mk

# A multiboot kernel, for tests of the command.
TEST_GUEST := $(B)/tests/multiboot/guest.elf
$(TEST_GUEST): tests/multiboot/guest.c tests/multiboot/guest.ld
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CSTD) $(WARN) -m32 -Os -ffreestanding -fno-pic \
	    -fno-stack-protector -fcf-protection=none -mgeneral-regs-only \
	    -nostdlib -static -Wl,--build-id=none,-z,noexecstack \
	    -Wl,--no-warn-rwx-segments -T tests/multiboot/guest.ld -o $@ $<

# 64-bit kernels that check the interrupt controllers from inside.
APIC_GUESTS := $(patsubst tests/%.c,$(B)/tests/%.elf,\
    $(filter-out %/guest.c,$(wildcard tests/apic_guests/*.c)))
TEST_GUEST += $(APIC_GUESTS)
$(APIC_GUESTS): $(B)/tests/%.elf: tests/%.c \
    $(addprefix tests/apic_guests/,guest.c start.S guest.h guest.ld)
	@mkdir -p $(@D)
	$(call say,LD,$@)
	$(Q)$(CC) $(CSTD) $(WARN) -m64 -O1 -ffreestanding -fno-pic \
	    -fno-stack-protector -fcf-protection=none -mgeneral-regs-only \
	    -mno-red-zone -fno-asynchronous-unwind-tables -nostdlib -static \
	    -Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096 \
	    -Wl,--no-warn-rwx-segments -T tests/apic_guests/guest.ld -o $@ $< \
	    tests/apic_guests/guest.c tests/apic_guests/start.S

.SECONDARY:

# What test scripts are told.
export VMM_BUILD := $(abspath $(B))
export VMM_GUEST := $(abspath build/guest)
export CMOCKA_MESSAGE_OUTPUT := TAP
# How much more time they allow than a plain build on an idle host needs.
export VMM_TEST_SLOW := $(if $(SAN),5,1)
PROVE	:= prove --timer

test:
	@tools/deps build guest run test
	$(MAKE) all guest $(TEST_BIN) $(TEST_GUEST) $(TEST_VMCTL)
	$(PROVE) -j2 -e '' $(PROVEFLAGS) $(TEST_BIN) $(TEST_TAP) $(KVM_TAP)

test-kvm:
	@tools/deps build guest run test bed
	$(MAKE) all guest $(TEST_BIN) $(TEST_GUEST)
	$(PROVE) -e '' $(PROVEFLAGS) $(KVM_TAP)

test-slow:
	@tools/deps
	$(MAKE) all guest $(TEST_GUEST)
	$(PROVE) -e '' $(PROVEFLAGS) $(SLOW_TAP)

bench:
	@tools/deps build guest bench
	$(MAKE) all guest $(B)/tests/multiboot/guest.elf
	bench/run --vmctl $(B)/bin/vmctl $(BENCHFLAGS)

fuzz-insn: $(B)/tests/insn/insn_test
	$< --forever

# clang's libFuzzer from the corpus on; what it learns and what it finds is in
# $(B)/fuzz.
FUZZ_CC		?= clang
FUZZ_SECONDS	?= 60
FUZZ_SRC = $(call srcs,src/base src/storage src/config src/control) $(B)/gen/conf.c \
    $(filter-out %_test.c,$(wildcard tests/fuzzers/*.c)) \
    tests/fuzzers/main/entry.c
fuzz-conf fuzz-message fuzz-qcow2: fuzz-%: $(B)/fuzz/% \
    $(B)/tests/fuzzers/replay_test
	@mkdir -p $(B)/fuzz/$*.corpus
	$(if $(filter qcow2,$*),$(B)/tests/fuzzers/replay_test --seeds $(B)/fuzz/$*.corpus)
	$< -max_total_time=$(FUZZ_SECONDS) -timeout=30 -rss_limit_mb=2048 \
	    -print_final_stats=1 -artifact_prefix=$(B)/fuzz/$*- \
	    $(B)/fuzz/$*.corpus $(wildcard tests/fuzzers/corpus/$*)
$(B)/fuzz/%: FORCE $(B)/gen/conf.c
	@mkdir -p $(@D)
	$(call say,FUZZ,$@)
	$(Q)$(FUZZ_CC) $(CSTD) $(CPPFLAGS) -Itests/fuzzers -O1 -g \
	    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=all \
	    -DFUZZ=fuzz_$* -o $@ $(FUZZ_SRC) $(HOSTLIBS) $(LDLIBS)

# The tour takes a thousand million instructions and more.
lockstep:
	@tools/deps build guest run
	$(MAKE) all guest $(B)/tests/multiboot/guest.elf
	VMM_RUN_FLAGS="--engine soft,jit,lockstep --stats" \
	    tools/run $(B) build/guest </dev/null

guest:
	@tools/deps --check guest
	tools/guest build/guest

deps:
	tools/deps

run:
	@tools/deps build guest run
	$(MAKE) all guest $(B)/tests/multiboot/guest.elf
	tools/run $(B) build/guest

check:
	@tools/deps build check
	tools/check

# --- install -------------------------------------------------------------------

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(LIBDIR)/pkgconfig \
	    $(DESTDIR)$(PREFIX)/include/machine $(DESTDIR)$(MANDIR)/man4 \
	    $(DESTDIR)$(MANDIR)/man5 $(DESTDIR)$(MANDIR)/man8 \
	    $(DESTDIR)$(UNITDIR)/system $(DESTDIR)$(UNITDIR)/user \
	    $(DESTDIR)$(COMPDIR) $(DESTDIR)$(DOCDIR)
	install -m 755 $(B)/bin/vmctl $(B)/bin/vmd $(DESTDIR)$(PREFIX)/bin/
	install -m 644 $(B)/lib/libvmm.a $(DESTDIR)$(LIBDIR)/
	install -m 755 $(B)/lib/libvmm.so $(DESTDIR)$(LIBDIR)/libvmm.so.0
	ln -sf libvmm.so.0 $(DESTDIR)$(LIBDIR)/libvmm.so
	install -m 755 $(B)/lib/libvmm-preload.so $(DESTDIR)$(LIBDIR)/
	install -m 644 $(B)/lib/vmm.pc $(DESTDIR)$(LIBDIR)/pkgconfig/
	install -m 644 include/vmm.h $(DESTDIR)$(PREFIX)/include/
	install -m 644 include/machine/vmmvar.h \
	    $(DESTDIR)$(PREFIX)/include/machine/
	install -m 644 man/vmm.4 $(DESTDIR)$(MANDIR)/man4/
	install -m 644 man/vm.conf.5 $(DESTDIR)$(MANDIR)/man5/
	install -m 644 man/vmctl.8 man/vmd.8 $(DESTDIR)$(MANDIR)/man8/
	install -m 644 completions/vmctl $(DESTDIR)$(COMPDIR)/
	install -m 644 examples/vm.conf $(DESTDIR)$(DOCDIR)/
	sed 's,@PREFIX@,$(PREFIX),' systemd/vmd.service \
	    >$(DESTDIR)$(UNITDIR)/system/vmd.service
	sed 's,@PREFIX@,$(PREFIX),' systemd/vmd-user.service \
	    >$(DESTDIR)$(UNITDIR)/user/vmd.service
	chmod 644 $(DESTDIR)$(UNITDIR)/system/vmd.service \
	    $(DESTDIR)$(UNITDIR)/user/vmd.service

uninstall:
	rm -f $(DESTDIR)$(PREFIX)/bin/vmctl $(DESTDIR)$(PREFIX)/bin/vmd \
	    $(DESTDIR)$(LIBDIR)/libvmm.a \
	    $(DESTDIR)$(LIBDIR)/libvmm.so $(DESTDIR)$(LIBDIR)/libvmm.so.0 \
	    $(DESTDIR)$(LIBDIR)/libvmm-preload.so \
	    $(DESTDIR)$(LIBDIR)/pkgconfig/vmm.pc \
	    $(DESTDIR)$(PREFIX)/include/vmm.h \
	    $(DESTDIR)$(PREFIX)/include/machine/vmmvar.h \
	    $(DESTDIR)$(MANDIR)/man4/vmm.4 $(DESTDIR)$(MANDIR)/man5/vm.conf.5 \
	    $(DESTDIR)$(MANDIR)/man8/vmctl.8 $(DESTDIR)$(MANDIR)/man8/vmd.8 \
	    $(DESTDIR)$(COMPDIR)/vmctl $(DESTDIR)$(DOCDIR)/vm.conf \
	    $(DESTDIR)$(UNITDIR)/system/vmd.service \
	    $(DESTDIR)$(UNITDIR)/user/vmd.service

clean:
	rm -rf build
