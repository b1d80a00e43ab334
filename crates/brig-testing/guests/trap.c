#include <stdio.h>

__attribute__((noinline)) static int inner(int value) {
    if (value > 0)
        __builtin_trap();
    return value;
}

__attribute__((noinline)) static int outer(int value) {
    return inner(value + 1) + 1;
}

int main(int count, char **arguments) {
    (void)arguments;
    puts("before the trap");
    fflush(stdout);
    return outer(count);
}
