#include <stdio.h>

int main(void) {
    puts("looping");
    fflush(stdout);
    for (volatile unsigned turn = 0;; turn++)
        ;
}
