FROM node:22-slim
COPY package.json ./
COPY packages ./packages
