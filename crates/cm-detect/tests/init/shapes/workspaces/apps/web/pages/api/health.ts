export const path = "/api/health";
