// Counts every allocation of a process, whichever library asks for it, and writes the number at exit to the file that
// MALLOC_COUNT_FILE names. Loaded with LD_PRELOAD; glibc's own entries (__libc_*) do the work, so nothing has to be
// looked up, which would itself allocate. Frees are not counted: what is never allocated is never freed.
#define _GNU_SOURCE
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static unsigned long count;

static void add(void) { __atomic_fetch_add(&count, 1, __ATOMIC_RELAXED); }

void *malloc(size_t size) { add(); return __libc_malloc(size); }
void *calloc(size_t members, size_t size) { add(); return __libc_calloc(members, size); }
void *realloc(void *old, size_t size) { add(); return __libc_realloc(old, size); }
void *memalign(size_t alignment, size_t size) { add(); return __libc_memalign(alignment, size); }
void *aligned_alloc(size_t alignment, size_t size) { add(); return __libc_memalign(alignment, size); }

int posix_memalign(void **out, size_t alignment, size_t size) {
    add();
    void *memory = __libc_memalign(alignment, size);
    if (!memory) return ENOMEM;
    *out = memory;
    return 0;
}

__attribute__((destructor)) static void report(void) {
    unsigned long total = __atomic_load_n(&count, __ATOMIC_RELAXED);
    const char *name = getenv("MALLOC_COUNT_FILE");
    FILE *file = name ? fopen(name, "w") : NULL;
    if (!file) return;
    fprintf(file, "%lu\n", total);
    fclose(file);
}
