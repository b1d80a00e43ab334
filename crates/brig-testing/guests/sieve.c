#include <stdio.h>
#include <stdlib.h>

int main(int count, char **arguments) {
    size_t limit = count > 1 ? (size_t)atol(arguments[1]) : 10000000;
    unsigned char *composite = calloc(limit + 1, 1);
    if (!composite)
        return 1;
    size_t primes = 0;
    for (size_t n = 2; n < limit; n++) {
        if (composite[n])
            continue;
        primes++;
        if (n > limit / n)
            continue;
        for (size_t multiple = n * n; multiple < limit; multiple += n)
            composite[multiple] = 1;
    }
    printf("%zu primes below %zu\n", primes, limit);
    return 0;
}
