# IN   image and nuclei.tif of each field; measurements.parquet, anomaly.parquet
# OUT  fields/{field}/signals.parquet, slides/{slide}/calls.parquet


rule detect_signals:
    """Find the candidate signals of every probe in a field."""
    input:
        image=lambda wildcards: RUN.present_images(wildcards.field),
        qc=out("fields/{field}/qc.json"),
        nuclei=out("fields/{field}/nuclei.tif"),
    output:
        signals=out("fields/{field}/signals.parquet"),
        picture=out("fields/{field}/signals.png"),
    log:
        out("logs/detect_signals/{field}.log"),
    benchmark:
        out("benchmarks/detect_signals/{field}.tsv")
    conda:
        "../../envs/detect_signals.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=120,
    params:
        code=code("detect_signals"),
        script=script("detect_signals"),
        image=sheet("image"),
        channels=RUN.channel_flags(),
        projection=config["projection"],
        options=options("signals"),
    shell:
        "python {params.script} --image {params.image:q} {params.channels:q}"
        " --projection {params.projection} --qc {input.qc:q} --nuclei {input.nuclei:q}"
        " {params.options} --signals {output.signals:q} --picture {output.picture:q}"
        " > {log:q} 2>&1"


rule call_slide:
    """Set thresholds and error rates a slide, and call its nuclei."""
    input:
        manifest=out("manifests/slides/{slide}.tsv"),
        qc=lambda wildcards: each("qc", RUN.slides[wildcards.slide]),
        measurements=lambda wildcards: each("measurements", RUN.slides[wildcards.slide]),
        signals=lambda wildcards: each("signals", RUN.slides[wildcards.slide]),
        anomaly=lambda wildcards: each("anomaly", RUN.slides[wildcards.slide]),
        reference=lambda wildcards: slide_reference(wildcards.slide),
    output:
        calls=out("slides/{slide}/calls.parquet"),
        summary=out("slides/{slide}/slide.json"),
        picture=out("slides/{slide}/signals.png"),
    log:
        out("logs/call_slide/{slide}.log"),
    benchmark:
        out("benchmarks/call_slide/{slide}.tsv")
    conda:
        "../../envs/call_slide.yaml"
    resources:
        mem_mb=mem_mb,
        runtime=60,
    params:
        code=code("call_slide"),
        script=script("call_slide"),
        probes=[f"--probe={probe}" for probe in RUN.probes],
        options=options(
            "calls", "q", "z", "threshold", "min_gain_probes", "split_diameters"
        ),
    shell:
        "python {params.script} --fields {input.manifest:q} {params.probes} --reference {input.reference:q}"
        " {params.options} --calls {output.calls:q} --summary {output.summary:q}"
        " --picture {output.picture:q} > {log:q} 2>&1"
