# tickguest is a guest in one boot sector, for tests of what a guest must not
# notice. Ten times a second it counts, writes the count to sector 64 of the
# disk that it booted from, and says so on the first serial port:
#
#	B0000002A   booted, sector 64 held 0x2a
#	T0000002B   counted, and the disk has acknowledged the write
#	E0000002C   counted, but the disk refused (also: refused the read at boot)
#
# The count goes on from the disk, so a lost write shows after a restart, too.
# It needs 1 MiB of memory and a disk that the BIOS can boot from.
#
#	as --32 -o tickguest.o tickguest.S
#	ld -m elf_i386 -Ttext 0x7c00 --oformat binary -o tickguest.bin tickguest.o

	.intel_syntax noprefix
	.code16

	.set	SECTOR, 64
	.set	COUNT, 0x8000		# one sector of memory, the count comes first
	.set	COM1_DATA, 0x3f8
	.set	COM1_STATUS, 0x3fd
	.set	CAN_SEND, 0x20
	.set	PAUSE_US, 100000

	.globl	_start
_start:
	xor	ax, ax
	mov	ds, ax
	mov	es, ax
	cli				# no interrupt between the two halves of the stack
	mov	ss, ax
	mov	sp, 0x7c00
	sti
	cld
	mov	[boot_drive], dl

	mov	di, COUNT
	mov	cx, 256
	rep stosw
	mov	ah, 0x42		# extended read
	mov	bl, 'B'
	call	disk
	call	say

tick:
	inc	dword ptr [COUNT]
	mov	ax, 0x4300		# extended write, without verify
	mov	bl, 'T'
	call	disk
	call	say
	mov	ah, 0x86		# wait cx:dx microseconds
	mov	cx, PAUSE_US >> 16
	mov	dx, PAUSE_US & 0xffff
	int	0x15
	jmp	tick

# disk moves the sector as ax says. bl stays, or becomes E after an error.
disk:
	push	bx
	mov	si, offset packet
	mov	dl, [boot_drive]
	int	0x13
	pop	bx
	jnc	1f
	mov	bl, 'E'
1:	ret

# say sends bl, the count in eight hexadecimal digits and a newline.
say:
	mov	al, bl
	call	send
	mov	edi, [COUNT]
	mov	si, 8
1:	rol	edi, 4
	mov	ax, di
	and	al, 0x0f
	cmp	al, 10
	sbb	al, 0x69		# with das: the digit's character
	das
	call	send
	dec	si
	jnz	1b
	mov	al, '\n'
	# falls through

# send puts al on the wire once the port has room for it.
send:
	mov	ah, al
	mov	dx, COM1_STATUS
1:	in	al, dx
	test	al, CAN_SEND
	jz	1b
	mov	al, ah
	mov	dx, COM1_DATA
	out	dx, al
	ret

boot_drive:
	.byte	0

	.balign	4
packet:					# what int 0x13 wants to know
	.byte	16, 0			# its size
	.word	1			# sectors
	.word	COUNT, 0		# offset and segment of the memory
	.long	SECTOR, 0

	.org	510
	.word	0xaa55
