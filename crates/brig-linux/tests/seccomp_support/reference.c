/*
 * Builds policies through libseccomp, for the tests to compare with.
 *
 *   reference numbers  < one name a line        > the name, and its numbers on five architectures
 *   reference filters  < policies               > for each: int32 status, uint32 bytes, the program
 *   reference load     < bytes of a program     > nanoseconds that the kernel took to load it
 *
 * A policy is lines of words, numbers in hexadecimal:
 *   policy DEFAULT-ACTION OPTIMIZE     begins one
 *   arch TOKEN                         adds an architecture
 *   only TOKEN                         and removes the native one
 *   rule ACTION NAME COUNT [INDEX OPERATOR A B]...
 *   end                                writes it out; the status is 0 or the first error, or
 *                                      -ETIME: libseccomp 2.5 runs in circles on some policies
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <seccomp.h>
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

/* In the order of our table; negative where there is none, or a multiplexer. */
static int numbers(void)
{
	static const unsigned int archs[] = {
		SCMP_ARCH_X86_64, SCMP_ARCH_X86, SCMP_ARCH_X32, SCMP_ARCH_AARCH64, SCMP_ARCH_ARM,
	};
	char name[128];
	unsigned int i;

	while (scanf("%127s", name) == 1) {
		if (seccomp_syscall_resolve_name(name) == __NR_SCMP_ERROR)
			continue;
		fputs(name, stdout);
		for (i = 0; i < sizeof(archs) / sizeof(archs[0]); i++)
			printf(" %d", seccomp_syscall_resolve_name_arch(archs[i], name));
		putchar('\n');
	}
	return 0;
}

static sigjmp_buf stuck;

static void give_up(int signal)
{
	siglongjmp(stuck, signal);
}

/* Allows what comes next so many milliseconds of processor time; none: no limit. */
static void allow(int milliseconds)
{
	struct itimerval timer = { { 0, 0 }, { 0, milliseconds * 1000 } };
	setitimer(ITIMER_VIRTUAL, &timer, NULL);
}

static int add_rule(scmp_filter_ctx ctx)
{
	unsigned int action, count, i;
	char name[128];
	struct scmp_arg_cmp args[6];

	if (scanf("%x %127s %u", &action, name, &count) != 3 || count > 6)
		exit(2);
	for (i = 0; i < count; i++) {
		unsigned int index, op;
		unsigned long long a, b;
		if (scanf("%u %u %llx %llx", &index, &op, &a, &b) != 4)
			exit(2);
		args[i] = (struct scmp_arg_cmp){ index, op, a, b };
	}
	int nr = seccomp_syscall_resolve_name(name);
	if (nr == __NR_SCMP_ERROR || ctx == NULL)
		return 0;
	allow(300);
	int rc = seccomp_rule_add_array(ctx, action, nr, count, args);
	allow(0);
	return rc;
}

static void export(scmp_filter_ctx ctx, int status)
{
	static char bytes[1 << 22];
	int fd = memfd_create("filter", 0);
	unsigned int length = 0;

	if (status == 0)
		status = seccomp_export_bpf(ctx, fd);
	if (status == 0) {
		lseek(fd, 0, SEEK_SET);
		length = read(fd, bytes, sizeof(bytes));
	}
	close(fd);
	fwrite(&status, 4, 1, stdout);
	fwrite(&length, 4, 1, stdout);
	fwrite(bytes, 1, length, stdout);
}

static int filters(void)
{
	char word[16];
	scmp_filter_ctx volatile ctx = NULL;
	int volatile status = 0;
	int rc;
	unsigned int value, optimize;

	signal(SIGVTALRM, give_up);
	if (sigsetjmp(stuck, 1) != 0) {
		/* The context is left to itself; its remaining rules are read and dropped. */
		ctx = NULL;
		status = -ETIME;
	}
	while (scanf("%15s", word) == 1) {
		rc = 0;
		if (!strcmp(word, "policy")) {
			if (scanf("%x %u", &value, &optimize) != 2)
				return 2;
			ctx = seccomp_init(value);
			status = ctx ? seccomp_attr_set(ctx, SCMP_FLTATR_CTL_OPTIMIZE, optimize) : -ENOMEM;
		} else if (!strcmp(word, "arch")) {
			if (scanf("%x", &value) != 1)
				return 2;
			rc = seccomp_arch_add(ctx, value);
			rc = rc == -EEXIST ? 0 : rc;
		} else if (!strcmp(word, "only")) {
			if (scanf("%x", &value) != 1)
				return 2;
			rc = seccomp_arch_add(ctx, value);
			if (rc == 0)
				rc = seccomp_arch_remove(ctx, seccomp_arch_native());
		} else if (!strcmp(word, "rule")) {
			rc = add_rule(ctx);
		} else if (!strcmp(word, "end")) {
			export(ctx, status);
			if (ctx)
				seccomp_release(ctx);
			ctx = NULL;
		} else {
			return 2;
		}
		if (rc != 0 && status == 0)
			status = rc;
	}
	return 0;
}

static int load(void)
{
	static struct sock_filter program[4096];
	ssize_t length = read(0, program, sizeof(program));
	struct sock_fprog fprog = { length / sizeof(program[0]), program };
	struct timespec before, after;

	if (length <= 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
		return 2;
	clock_gettime(CLOCK_MONOTONIC, &before);
	if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &fprog) != 0)
		return 3;
	clock_gettime(CLOCK_MONOTONIC, &after);
	printf("%ld\n", (after.tv_sec - before.tv_sec) * 1000000000L + after.tv_nsec - before.tv_nsec);
	return 0;
}

int main(int argc, char **argv)
{
	const char *mode = argc > 1 ? argv[1] : "";
	if (!strcmp(mode, "numbers"))
		return numbers();
	if (!strcmp(mode, "filters"))
		return filters();
	if (!strcmp(mode, "load"))
		return load();
	return 2;
}
