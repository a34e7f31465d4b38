from snakemake.utils import min_version

min_version("9.27")


configfile: f"{workflow.basedir}/config.yaml"


include: "workflow/rules/common.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/weights.smk"
include: "workflow/rules/segmentation.smk"
include: "workflow/rules/pseudo_labels.smk"
include: "workflow/rules/finetune.smk"
include: "workflow/rules/anomaly.smk"
include: "workflow/rules/calls.smk"
include: "workflow/rules/results.smk"
include: "workflow/rules/benchmark.smk"


rule all:
    default_target: True
    input:
        out("report/index.html"),
        exports(),


onsuccess:
    print(f"The report is at {out('report/index.html')}")
