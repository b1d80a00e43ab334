/* The Linux half of `brig demo`: no libc, so that a C compiler is all that building it takes. */

#if defined(__x86_64__)
static long call(long number, long a, long b, long c)
{
	long result;
	__asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c) : "rcx", "r11", "memory");
	return result;
}
enum { WRITE = 1, GETPID = 39, EXIT = 60, UNAME = 63, GETUID = 102 };
#elif defined(__aarch64__)
static long call(long number, long a, long b, long c)
{
	register long x8 __asm__("x8") = number;
	register long x0 __asm__("x0") = a;
	register long x1 __asm__("x1") = b;
	register long x2 __asm__("x2") = c;
	__asm__ volatile("svc 0" : "+r"(x0) : "r"(x8), "r"(x1), "r"(x2) : "memory");
	return x0;
}
enum { WRITE = 64, GETPID = 172, EXIT = 93, UNAME = 160, GETUID = 174 };
#else
#error "brig's demo knows x86_64 and aarch64"
#endif

/* struct new_utsname of linux/utsname.h */
struct names {
	char system[65], host[65], release[65], version[65], machine[65], domain[65];
};

/* volatile: or the compiler would make a call of strlen of the loop, and there is no libc to have one. */
static void print(const volatile char *text)
{
	long length = 0;
	while (text[length])
		length++;
	call(WRITE, 1, (long)text, length);
}

static void print_number(long number)
{
	char digits[24];
	int at = sizeof digits - 1;
	digits[at] = 0;
	do {
		digits[--at] = '0' + number % 10;
		number /= 10;
	} while (number);
	print(digits + at);
}

void _start(void)
{
	struct names names;
	call(UNAME, (long)&names, 0, 0);
	print("Hello from a Linux container: pid ");
	print_number(call(GETPID, 0, 0, 0));
	print(", uid ");
	print_number(call(GETUID, 0, 0, 0));
	print(", host ");
	print(names.host);
	print(", ");
	print(names.system);
	print(" ");
	print(names.release);
	print("\n");
	call(EXIT, 0, 0, 0);
	for (;;)
		;
}
