# The guests of guests_test: flat images, one for each file in long/ (64-bit),
# prot/ (32-bit) and real/ (16-bit).
GUESTS := $(foreach m,long prot real,$(patsubst tests/guests/$(m)/%.c,\
    $(B)/guests/$(m)-%.bin,$(wildcard tests/guests/$(m)/*.c)))
GUEST_LIB := tests/guests/lib
GUEST_CFLAGS := -std=gnu17 -Wall -Wextra -Werror -O1 -ffreestanding -fno-pic \
    -fno-pie -nostdlib -fno-stack-protector -mgeneral-regs-only \
    -fno-asynchronous-unwind-tables -fcf-protection=none -static \
    -Wl,--build-id=none -Wl,--no-warn-rwx-segments -Wl,--oformat,binary \
    -Wl,-T,$(GUEST_LIB)/guest.ld -I$(GUEST_LIB)
GUEST_MODE_long := -m64 -mno-red-zone
GUEST_MODE_prot := -m32 -Wl,-m,elf_i386
GUEST_MODE_real := -m16 -DREAL -Wl,-m,elf_i386

define guest_rule
$(B)/guests/$(1)-%.bin: tests/guests/$(1)/%.c $$(wildcard $$(GUEST_LIB)/*)
	@mkdir -p $$(@D)
	$$(call say,LD,$$@)
	$$(Q)$$(CC) $$(GUEST_CFLAGS) $$(GUEST_MODE_$(1)) -o $$@ \
	    $$(GUEST_LIB)/$(1).S $$< $$(GUEST_LIB)/guest.c
endef
$(foreach m,long prot real,$(eval $(call guest_rule,$(m))))

$(B)/tests/guests/guests_test: | $(GUESTS)
