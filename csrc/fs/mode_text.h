/* A mode as `ls -l` shows it (lib/permstring.c). */
#ifndef PS_MODE_TEXT_H
#define PS_MODE_TEXT_H
#include "core/bytes.h"

void perm_string(u32 mode, char out[11]);

#endif
