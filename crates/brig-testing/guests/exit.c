#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments) {
    puts("out");
    fputs("err\n", stderr);
    exit(count > 1 ? atoi(arguments[1]) : 0);
}
