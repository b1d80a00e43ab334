#include <stdio.h>

extern char **environ;

int main(int count, char **arguments) {
    for (int i = 0; i < count; i++)
        printf("arg: %s\n", arguments[i]);
    for (char **variable = environ; variable && *variable; variable++)
        printf("env: %s\n", *variable);
    return 0;
}
