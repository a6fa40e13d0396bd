#include "micro.h"
const struct workload micro_trace[] = {{NULL, NULL, 0, 0, NULL, 0, 0, 0}};
