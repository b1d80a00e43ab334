#include <stdio.h>

/* Ends with an overflow of the stack, long before the depth is negative. */
__attribute__((noinline)) static int deeper(volatile int *above) {
    volatile int here = *above + 1;
    return here < 0 ? 0 : deeper(&here) + here;
}

int main(void) {
    volatile int start = 0;
    printf("%d\n", deeper(&start));
    return 0;
}
